//! Peers and bans as text for people.

use peerloop::ban::Ban;
use peerloop::store::{KnownPeer, PeerStatus};

/// Formats a heading if there are peers, a line for each peer and ban, and a last line with the numbers of both.
pub(super) fn list(peers: &[KnownPeer], bans: &[Ban]) -> String {
    let mut text = String::new();
    let addresses: Vec<String> = peers.iter().map(|peer| peer.address().to_string()).collect();
    let width = addresses.iter().map(String::len).max().unwrap_or(0);
    if !peers.is_empty() {
        text += &format!("{:<width$} {:<12} {:<20}  USER AGENT\n", "PEER", "STATUS", "SINCE");
    }
    for (peer, address) in peers.iter().zip(&addresses) {
        let KnownPeer { status, status_since, user_agent, .. } = peer;
        let status = status.to_string();
        let line = format!("{address:<width$} {status:<12} {:<20}  {user_agent}", status_since);
        text += line.trim_end();
        text += "\n";
    }
    for ban in bans {
        text += &format!("banned {} {}: {}\n", ban.host, end_of(ban), ban.reason);
    }
    text + &format!("peers {}, bans {}\n", peers.len(), bans.len())
}

/// Formats each peer and ban in full.
pub(super) fn each(peers: &[KnownPeer], bans: &[Ban]) -> String {
    let mut text = String::new();
    for peer in peers {
        let reason = match peer.status {
            PeerStatus::Banned(reason) => format!(": {reason}"),
            PeerStatus::Unknown | PeerStatus::Valid | PeerStatus::Inaccessible => String::new(),
        };
        text += &format!(
            "peer            {}\n\
             status          {}{reason}\n\
             since           {}\n\
             last connected  {}\n\
             services        {:#x}\n\
             user agent      {}\n\
             failed dials    {}\n",
            peer.address(),
            peer.status,
            peer.status_since,
            peer.last_connected.map_or_else(|| "never".to_owned(), |time| time.to_string()),
            peer.services,
            peer.user_agent,
            peer.failures
        );
    }
    for ban in bans {
        text += &format!("banned          {} since {}, {}: {}\n", ban.host, ban.since, end_of(ban), ban.reason);
    }
    text
}

/// Formats the end of a ban.
pub(super) fn end_of(ban: &Ban) -> String {
    ban.until.map_or_else(|| "for ever".to_owned(), |until| format!("until {until}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::address::Host;
    use peerloop::ban::BanReason;
    use peerloop::time::UnixTime;

    #[test]
    fn a_list_has_a_line_for_each_peer_and_ban() {
        let peer = KnownPeer::new("192.0.2.1:8333".parse().unwrap(), UnixTime::from_secs(1_700_000_000));
        let host = Host::of(peer.address().ip());
        let ban = Ban { host, reason: BanReason::Manual, since: UnixTime::from_secs(0), until: None };
        let text = list(&[peer], &[ban]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["192.0.2.1:8333", "unknown", "2023-11-14T22:13:20Z"]
        );
        assert_eq!(lines[2..], ["banned 192.0.2.1 for ever: by hand", "peers 1, bans 1"]);
        assert_eq!(list(&[], &[]), "peers 0, bans 0\n");
    }

    #[test]
    fn the_address_column_is_as_wide_as_the_longest_address() {
        let peer = |address: &str| KnownPeer::new(address.parse().unwrap(), UnixTime::from_secs(0));
        let (short, long) = (peer("1.2.3.4:1"), peer("[2001:db8:1111:2222:3333:4444:5555:6666]:65535"));
        let columns = |peers: &[KnownPeer]| -> Vec<Option<usize>> {
            let column = |line: &str| line.find("STATUS").or_else(|| line.find("unknown"));
            list(peers, &[]).lines().take(1 + peers.len()).map(column).collect()
        };
        assert_eq!(columns(std::slice::from_ref(&short)), [Some(10); 2]);
        assert_eq!(columns(&[short, long]), [Some(47); 3]);
    }

    #[test]
    fn any_time_can_be_shown() {
        let host = Host::of("192.0.2.1".parse().unwrap());
        for (secs, expected) in [(-1, "1969-12-31T23:59:59Z"), (i64::MIN, "@-9223372036854775808")] {
            let time = UnixTime::from_secs(secs);
            let ban = Ban { host, reason: BanReason::Manual, since: time, until: Some(time) };
            let peer = KnownPeer::new("192.0.2.1:8333".parse().unwrap(), time);
            assert_eq!(
                each(&[], &[ban]),
                format!("banned          192.0.2.1 since {expected}, until {expected}: by hand\n")
            );
            assert!(list(std::slice::from_ref(&peer), &[]).contains(expected));
            assert!(each(&[peer], &[]).contains(&format!("since           {expected}\n")));
        }
    }
}
