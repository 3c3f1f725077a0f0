//! `relay` without `--pipe`: relays transactions between upstreams and leaf peers.

use crate::run::scrape;
use crate::scripted::{Peer, transaction};
use crate::usage::refused;
use crate::{Running, folder};
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, InventoryItem, LocatorRef};
use peerloop_testkit::simulated::blocks::{Mined, chain, headers};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Starts a relay on regtest with these upstreams, and returns it with its greeting.
fn relay(upstreams: &[&str], arguments: &[&str]) -> (Running, String) {
    let upstreams: Vec<String> = upstreams.iter().map(|upstream| format!("--upstream={upstream}")).collect();
    let upstreams = upstreams.iter().map(String::as_str);
    let command: Vec<&str> =
        ["relay", "--network", "regtest"].into_iter().chain(upstreams).chain(arguments.iter().copied()).collect();
    let mut relay = Running::start(&command);
    let mut greeting = relay.greeting();
    while !greeting.contains("book") {
        greeting += &relay.greeting();
    }
    (relay, greeting)
}

/// Returns the address on which a program listens.
fn listening(running: &mut Running) -> SocketAddr {
    let line = running.wait_for_part("event=listener_bound");
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("listen_address="));
    address.unwrap_or_else(|| panic!("no address in {line}")).parse().expect("the field is an address")
}

#[test]
fn two_upstreams_are_dialled_and_a_summary_is_printed_at_the_end() {
    let ((one_node, one), (two_node, two)) = (Running::serve(&["-q"]), Running::serve(&["-q"]));
    for signal in ["TERM", "INT"] {
        let (mut relay, greeting) = relay(&[&one, &two], &["--trust", "trusted"]);
        let wanted = format!("relaying on regtest  upstreams {one} {two}  trust trusted, maximum 20 peers\n");
        assert!(greeting.starts_with(&wanted), "{greeting}");
        for part in ["-whitelist=OUR_IP -whitelistforcerelay=0", "no peer can connect: add --listen", "no book"] {
            assert!(greeting.contains(part), "{part}: {greeting}");
        }
        for _ in 0..2 {
            relay.wait_for_part("event=handshake_complete");
        }
        relay.signal(signal);
        let relayed = relay.finish();
        assert_eq!(relayed.code, Some(0), "{}", relayed.stderr);
        for part in [
            "relayed ",
            ": 0 transactions accepted, 0 items announced, 0 served, in ",
            "not found 0, rejected 0, announcements lost 0",
            "relay_hop{receiver=first} from read: no data\n",
            "tx_fetch: no data\n",
            "propagation: no data\n",
        ] {
            assert!(relayed.stdout.contains(part), "{part}: {}", relayed.stdout);
        }
    }
    drop((one_node, two_node));
}

#[test]
fn an_upstreams_transaction_reaches_a_leaf_which_fetches_it() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("the listener has an address").to_string();
    let arguments =
        ["--listen", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--trust", "trusted", "--relay-flag=true"];
    let (mut relay, greeting) = relay(&[&address], &arguments);
    assert!(!greeting.contains("no peer can connect"), "{greeting}");
    let line = relay.greeting();
    let metrics = line.strip_prefix("metrics at http://").and_then(|rest| rest.split_once('/')).expect("an address").0;
    let mut upstream = Peer::accept(&upstream);
    let mut leaf = Peer::connect(listening(&mut relay));
    let transaction = transaction(1);
    let item = InventoryItem::tx(Hash256::of(&transaction));
    upstream.announce(item);
    assert_eq!(upstream.requested(), [item]);
    upstream.give(&transaction);
    assert_eq!(leaf.announced(), [item]);
    leaf.request(item);
    assert_eq!(leaf.transaction(), transaction);
    let missing = InventoryItem::tx(Hash256::of(b"missing"));
    leaf.request(missing);
    assert_eq!(leaf.missing(), [missing]);
    let samples = scrape(metrics);
    for (name, labels, expected) in [
        ("relay_accepted_total", "", 1.0),
        ("relay_served_total", "", 1.0),
        ("relay_not_found_total", "", 1.0),
        ("relay_requests_sent_total", "", 1.0),
        ("relay_leaf_peers", "", 1.0),
        ("relay_upstream_links", "", 1.0),
        ("relay_tx_fetch_seconds_count", "", 1.0),
        ("relay_hop_seconds_count", ",receiver=\"first\",view=\"read\"", 1.0),
        ("relay_hop_seconds_count", ",receiver=\"last\",view=\"arrival\"", 1.0),
    ] {
        let name = format!("peerloop_{name}{{network=\"regtest\"{labels}}}");
        assert_eq!(samples.get(&name), Some(&expected), "{name}: {samples:?}");
    }
    relay.signal("TERM");
    let relayed = relay.finish();
    assert_eq!(relayed.code, Some(0), "{}", relayed.stderr);
    for part in [
        ": 1 transaction accepted, 1 item announced, 1 served, in ",
        "not found 1, rejected 0, announcements lost 0",
        "relay_hop{receiver=first} from read: 1 sample, p50 ",
        "relay_hop{receiver=last} from arrival: 1 sample, p50 ",
        "tx_fetch: 1 sample, p50 ",
    ] {
        assert!(relayed.stdout.contains(part), "{part}: {}", relayed.stdout);
    }
}

#[test]
fn blocks_have_lines_with_their_hops_and_many_at_once_share_one() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("the listener has an address").to_string();
    let arguments = ["--listen", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--trust", "trusted"];
    let (mut relay, _) = relay(&[&address], &arguments);
    let line = relay.greeting();
    let metrics = line.strip_prefix("metrics at http://").and_then(|rest| rest.split_once('/')).expect("an address").0;
    let blocks = chain(&[60_000; 12]);
    let mut upstream = Peer::accept(&upstream);
    upstream.push(CommandName::HEADERS, &headers(&blocks));
    let mut leaf = Peer::connect(listening(&mut relay));
    let mut pass = |blocks: &[Mined]| {
        for block in blocks {
            let item = InventoryItem::block(block.hash());
            leaf.request(item);
            assert_eq!(upstream.requested(), [item]);
            upstream.push(CommandName::BLOCK, &block.payload);
            assert_eq!(leaf.wait_for(CommandName::BLOCK), block.payload);
        }
    };
    pass(&blocks[..1]);
    let line = relay.wait_for_part("info  block ");
    let begin = format!("info  block {} at height 1: ", blocks[0].hash());
    assert!(line.contains(&begin) && line.contains(", first byte out after "), "{line}");
    assert!(line.ends_with("1 reader finished, 0 cut, 0 fail-overs, longest gap no data\n"), "{line}");
    pass(&blocks[1..]);
    let samples = scrape(metrics);
    for (name, receiver, view) in [
        ("first", "first", "read"),
        ("first", "last", "arrival"),
        ("last", "first", "arrival"),
        ("last", "last", "read"),
    ] {
        let labels = format!("network=\"regtest\",receiver=\"{receiver}\",view=\"{view}\"");
        let name = format!("peerloop_relay_block_{name}_byte_seconds_count{{{labels}}}");
        assert_eq!(samples.get(&name), Some(&12.0), "{name}: {samples:?}");
    }
    relay.signal("TERM");
    let relayed = relay.finish();
    assert_eq!(relayed.code, Some(0), "{}", relayed.stderr);
    for part in [
        "tip at height 12, 12 blocks passed, 12 served, 0 wrong, 0 fail-overs, 0 readers cut\n",
        "block_first_byte{receiver=first} from arrival: 12 samples, p50 ",
        "block_last_byte{receiver=last} from read: 12 samples, p50 ",
        "block_gap: no data\n",
    ] {
        assert!(relayed.stdout.contains(part), "{part}: {}", relayed.stdout);
    }
    // Every block has a line or is counted in one, however fast they passed.
    let of_block = |text: &str| -> usize {
        let shared = text.split_once("  and ").and_then(|(_, rest)| rest.split_once(" other block"));
        shared.map_or_else(|| usize::from(text.contains("info  block ")), |(count, _)| count.parse().expect("a number"))
    };
    assert_eq!(relayed.stderr.lines().map(of_block).sum::<usize>(), 12, "{}", relayed.stderr);
}

/// Accepts a connection. Returns it with the number of headers up to the first block of its first request for headers.
fn requested_after(upstream: &TcpListener, blocks: &[Mined]) -> (Peer, Option<usize>) {
    let (peer, payload) = Peer::accept_until(upstream, CommandName::GETHEADERS);
    let request = LocatorRef::decode(CommandName::GETHEADERS, &payload).expect("the request is valid");
    let first = request.hashes().next().expect("the request has a locator");
    (peer, blocks.iter().position(|block| block.hash() == first).map(|position| position + 1))
}

/// Waits until a file has this length.
fn wait_for_len(path: &str, len_bytes: u64) {
    let has_len = || std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == len_bytes);
    while !has_len() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_relay_with_a_book_requests_only_headers_that_are_newer_than_those_of_its_last_run() {
    let folder = folder();
    let (book, saved) = (folder.file("peers.redb"), folder.file("peers.redb.headers"));
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("the listener has an address").to_string();
    let arguments = ["--trust", "trusted", "--book", &book];
    let blocks = chain(&[100; 60]);
    // The file has a head, the genesis block, and the others.
    let len_bytes = |count: u64| 32 + 80 + 80 * count;
    for (known, sent) in [(None, 0..50), (Some(49), 50..60)] {
        let (relay, _) = relay(&[&address], &arguments);
        let (mut upstream, requested) = requested_after(&upstream, &blocks);
        assert_eq!(requested, known);
        let count = sent.end as u64;
        upstream.push(CommandName::HEADERS, &headers(&blocks[sent]));
        wait_for_len(&saved, len_bytes(count));
        relay.signal("TERM");
        let relayed = relay.finish();
        assert!(relayed.stdout.contains(&format!("tip at height {count}, ")), "{}", relayed.stdout);
        assert!(!relayed.stderr.contains("headers"), "{}", relayed.stderr);
    }
    // One bit of the last header but one is wrong.
    let mut bytes = std::fs::read(&saved).expect("the file exists");
    bytes[len_bytes(60) as usize - 90] ^= 0x40;
    std::fs::write(&saved, &bytes).expect("the file is writable");
    let (relay, _) = relay(&[&address], &arguments);
    let (mut upstream, requested) = requested_after(&upstream, &blocks);
    assert_eq!(requested, None);
    upstream.push(CommandName::HEADERS, &headers(&blocks));
    wait_for_len(&saved, len_bytes(60));
    relay.signal("TERM");
    let relayed = relay.finish();
    let expected = format!("the saved headers {saved} could not be used: the header at position 58 is invalid: ");
    assert!(relayed.stderr.contains(&expected), "{}", relayed.stderr);
    assert_eq!(relayed.stderr.lines().filter(|line| line.contains("headers")).count(), 1, "{}", relayed.stderr);
    assert!(std::fs::read(format!("{saved}.set-aside")).expect("the file was kept") == bytes);
}

#[test]
fn a_leafs_transaction_reaches_other_leaf_peers_once_the_upstream_announces_it_on_the_listening_link() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("the listener has an address").to_string();
    let (mut relay, _) = relay(&[&address], &["--listen", "127.0.0.1:0"]);
    let address = listening(&mut relay);
    // The relay dials the submitting link first.
    let (mut submitting, mut listener) = (Peer::accept(&upstream), Peer::accept(&upstream));
    let (mut sender, mut receiver) = (Peer::connect(address), Peer::connect(address));
    let transaction = transaction(2);
    let item = InventoryItem::tx(Hash256::of(&transaction));
    sender.announce(item);
    assert_eq!(sender.requested(), [item]);
    sender.give(&transaction);
    assert_eq!(submitting.announced(), [item]);
    submitting.request(item);
    assert_eq!(submitting.transaction(), transaction);
    listener.announce(item);
    assert_eq!(receiver.announced(), [item]);
    relay.signal("TERM");
    let relayed = relay.finish();
    assert!(relayed.stdout.contains("submitted 1, seen back 1, accepted on silence 0\n"), "{}", relayed.stdout);
}

#[test]
fn an_upstream_that_restarts_is_dialled_again_although_leaf_peers_want_every_slot() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("the listener has an address").to_string();
    // The leaf peers stay although they complete no handshake.
    let arguments =
        ["--listen", "127.0.0.1:0", "--max-peers", "4", "--target-peers", "1", "--handshake-timeout", "120s"];
    let (mut relay, _) = relay(&[&address], &arguments);
    let address = listening(&mut relay);
    let links = [Peer::accept(&upstream), Peer::accept(&upstream)];
    let mut leaves = vec![TcpStream::connect(address), TcpStream::connect(address)];
    drop(links);
    // The relay dials its upstream after 0.75 to 1 s.
    for _ in 0..20 {
        leaves.push(TcpStream::connect(address));
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..2 {
        Peer::accept(&upstream);
    }
    relay.signal("TERM");
    assert_eq!(relay.finish().code, Some(0));
}

#[test]
fn an_upstream_is_found_by_its_name() {
    let (_node, address) = Running::serve(&["-q"]);
    let name = format!("localhost:{}", address.rsplit_once(':').expect("the address has a port").1);
    let (mut relay, greeting) = relay(&[&name], &[]);
    assert!(greeting.contains(&format!("upstreams {name} (")), "{greeting}");
    // If the name's first address is that of another family, its dial fails and the next address is used.
    let line = relay.wait_for_part("event=handshake_complete");
    assert!(line.contains(&format!("peer_address={address} connection_type=outbound")), "{line}");
    relay.signal("TERM");
    assert_eq!(relay.finish().code, Some(0));
}

#[test]
fn mistakes_are_refused_before_anything_starts() {
    let regtest = |arguments: &[&'static str]| [&["relay", "--network", "regtest"], arguments].concat();
    refused(&["relay"], 2, &["relay has no upstream: add --upstream HOST[:PORT], or --pipe A B; see --help"]);
    refused(&["relay", "--upstream", "a:18444"], 2, &["a:18444 has the port of regtest", "add --network regtest"]);
    let open = ["relay", "--upstream", "127.0.0.1", "--trust", "open"];
    refused(&open, 2, &["--trust open on mainnet", "add --yes"]);
    for (listen, upstream) in [("127.0.0.1:7", "127.0.0.1:7"), ("0.0.0.0:7", "127.0.0.1:7"), ("[::1]:7", "[::1]:7")] {
        let own = regtest(&["--listen", listen, "--upstream", upstream]);
        refused(&own, 2, &[upstream, "is this relay's own address to listen on", listen]);
    }
    refused(&regtest(&["--upstream", "a b"]), 2, &["flag --upstream: upstreams: `a b` is not a peer"]);
    refused(&regtest(&["--upstream", "nosuchhost.invalid"]), 1, &["resolving nosuchhost.invalid"]);
    refused(&regtest(&["--upstream", "127.0.0.1", "--trust", "all"]), 2, &["all", "validated, trusted, open"]);
    let pool = regtest(&["--upstream", "127.0.0.1", "--tx-pool", "1KiB"]);
    refused(&pool, 2, &["flag --tx-pool: tx_pool must be 4MiB or more"]);
    let silence = regtest(&["--upstream", "127.0.0.1", "--accept-on-silence", "0s"]);
    refused(&silence, 2, &["flag --accept-on-silence: accept_on_silence: "]);
    refused(&regtest(&["-6", "--upstream", "127.0.0.1"]), 2, &["has only 127.0.0.1"]);
    let two = ["--upstream", "127.0.0.1", "--upstream", "127.0.0.2", "--max-peers", "4", "--target-peers", "1"];
    refused(&regtest(&two), 2, &["flag --max-peers: max_peers must be 5 or more", "the links to the upstreams"]);
    let both = regtest(&["--upstream", "127.0.0.1", "--find-peers", "--fixed-peers", "127.0.0.2"]);
    refused(&both, 2, &["find_peers", "fixed_peers", "omit one"]);
    let both = regtest(&["--pipe", "127.0.0.1", "127.0.0.2", "--upstream", "127.0.0.3"]);
    refused(&both, 2, &["--pipe does not use --upstream"]);
    refused(&["run", "--upstream", "127.0.0.1"], 2, &["--upstream", "--help"]);
}

#[test]
fn a_sighup_changes_the_upstreams_of_the_settings_file() {
    let ((_one_node, one), (_two_node, two)) = (Running::serve(&["-q"]), Running::serve(&["-q"]));
    let folder = folder();
    let text = |upstream: &str, push: bool| {
        format!("network = 'regtest'\nrelay_flag = true\n\n[relay]\nupstreams = ['{upstream}']\npush = {push}\n")
    };
    let settings = folder.with("relay.toml", &text(&one, false));
    let mut relay = Running::start(&["relay", "--config", &settings, "--trust=trusted"]);
    let line = relay.wait_for_part("event=handshake_complete");
    assert!(line.contains(&format!("peer_address={one} ")), "{line}");
    folder.with("relay.toml", &text(&two, true));
    relay.signal("HUP");
    let line = relay.wait_for_part("SIGHUP: ");
    let expected = format!("SIGHUP: upstreams from {one} to {two}, at once; push changes when the node is restarted\n");
    assert!(line.ends_with(&expected), "{line}");
    let line = relay.wait_for_part("event=handshake_complete");
    assert!(line.contains(&format!("peer_address={two} ")), "{line}");
    // The setting was not applied, so the next SIGHUP names it again.
    relay.signal("HUP");
    let line = relay.wait_for_part("SIGHUP: ");
    assert!(line.ends_with("SIGHUP: push changes when the node is restarted\n"), "{line}");
    folder.with("relay.toml", "network = 'regtest'\n");
    relay.signal("HUP");
    let line = relay.wait_for_part("SIGHUP: ");
    assert!(line.contains("relay has no upstream") && line.ends_with("; nothing has changed\n"), "{line}");
    relay.signal("TERM");
    assert_eq!(relay.finish().code, Some(0));
}

#[test]
fn the_printed_settings_of_a_relay_have_its_table() {
    let given = ["--upstream", "a:1", "--push", "--accept-on-silence", "3s", "--tx-pool", "64MiB"];
    let first = crate::peerloop(&[&["relay", "--print-config"], &given[..]].concat());
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    let table = first.stdout.split_once("\n[relay]\n").expect("the settings have a table").1;
    for line in
        ["upstreams = [\"a:1\"] # flag --upstream", "push = true # flag --push", "trust = \"validated\" # default"]
    {
        assert!(table.lines().any(|printed| printed == line), "{line}: {table}");
    }
    let folder = folder();
    let file = folder.with("relay.toml", &first.stdout);
    for command in ["relay", "run"] {
        let second = crate::peerloop(&[command, "--print-config", "--config", &file]);
        assert_eq!((second.code, second.stderr.as_str()), (Some(0), ""));
        assert_eq!(second.stdout.contains("accept_on_silence = \"3s\" # "), command == "relay", "{}", second.stdout);
    }
}
