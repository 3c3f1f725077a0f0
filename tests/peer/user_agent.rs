//! Accepted and refused user agents: the default rules, and ban patterns. The pattern matcher is compared with a naive
//! one.

use super::version;
use peerloop::config::VersionRules;
use peerloop::error::Incompatibility;
use peerloop::peer::validate_version;
use peerloop::protocol::Network;
use proptest::prelude::*;

fn judge(agent: &[u8], rules: &VersionRules) -> Result<(), Incompatibility> {
    validate_version(&version(Some(agent)), Some(Network::Mainnet), Network::Mainnet, rules)
}

fn banning(patterns: &[&str]) -> VersionRules {
    VersionRules::default()
        .with_banned_agents(patterns.iter().map(|&pattern| pattern.to_owned()).collect())
        .with_bitcoin_sv_agents(Vec::new())
        .with_other_chain_agents(Vec::new())
}

fn is_banned(pattern: &str, agent: &str) -> bool {
    judge(agent.as_bytes(), &banning(&[pattern])) == Err(Incompatibility::BannedUserAgent)
}

#[test]
fn req_e07_agents_of_bitcoin_sv_and_unknown_agents_are_accepted() {
    for agent in [
        "/Bitcoin SV:1.2.2/",
        "/Bitcoin SV:1.0.13(EB128.0; AD)/",
        "/bitcoin sv:1.0.0/",
        "/BitcoinSV:0.2.1/",
        "/BITCOINSV/",
        "bsv/1.0",
        "/bsv-p2p-manager:0.1.0/",
        "/BSV:1/",
        "/peerloop:0.1.0/",
        "/teranode/",
        "/Teranode:0.9/",
        "/Bitcoin Unlimited:1.9/",
        "/bitcore:1.1.0/",
        "/bitcore-sl:8.16.2/",
        "/encore:1/",
        "/core:1/",
        "/Bitcoin-Core:1/",
        "/Bitcoin SV:1.2.2(HandCash)/",
        "/Bitcoin SV:1.2.2(Bitcoin Core)/",
        "/somebody:9/",
        "",
    ] {
        assert_eq!(judge(agent.as_bytes(), &VersionRules::default()), Ok(()), "{agent}");
    }
}

#[test]
fn req_e07_agents_that_match_only_other_chains_are_refused() {
    for agent in [
        "/Satoshi:27.0.0/",
        "/SATOSHI/",
        "/Bitcoin Core:1/",
        "/btcd:0.24.0/",
        "/btcwire:0.5.0/btcd:0.24.0/",
        "/Bitcoin ABC:0.29.4(EB32.0)/",
        "/Bitcoin Cash Node:27.1.0(EB32.0)/",
        "/bch:1/",
        "/BCHN:1/",
        "/BITCOIN CORE:25.0.0/",
        "/abcd:1/",
        "/cashier:1/",
    ] {
        assert_eq!(judge(agent.as_bytes(), &VersionRules::default()), Err(Incompatibility::Blockchain), "{agent}");
    }
}

#[test]
fn req_e07_bitcoin_sv_is_matched_before_other_chains() {
    assert_eq!(judge(b"/Bitcoin SV:1.2.2/btc-bridge:1/", &VersionRules::default()), Ok(()));
    assert_eq!(judge(b"/peerloop:0.1.0(not satoshi)/", &VersionRules::default()), Ok(()));
}

#[test]
fn req_e08_a_banned_agent_of_bitcoin_sv_is_refused() {
    let rules = VersionRules::default().with_banned_agents(vec!["/Bitcoin SV:1.0.*/".to_owned()]);
    assert_eq!(judge(b"/Bitcoin SV:1.0.13/", &rules), Err(Incompatibility::BannedUserAgent));
    assert_eq!(judge(b"/bitcoin sv:1.0./", &rules), Err(Incompatibility::BannedUserAgent));
    assert_eq!(judge(b"/Bitcoin SV:1.2.2/", &rules), Ok(()));
    assert_eq!(judge(b"x/Bitcoin SV:1.0.13/", &rules), Ok(()), "a pattern with a star matched a part of the agent");
}

#[test]
fn req_e08_patterns_with_stars_match_the_whole_agent_and_other_patterns_match_any_part() {
    for (pattern, agent, banned) in [
        ("spy", "/i spy/", true),
        ("SPY", "/i spy/", true),
        ("spy", "/i SPY/", true),
        ("spy", "/sp y/", false),
        ("spy", "sp", false),
        ("*spy*", "/i spy/", true),
        ("spy*", "/i spy/", false),
        ("*spy", "/i spy/", false),
        ("*spy/", "/i spy/", true),
        ("*SPY", "i spy", true),
        ("I*sPy", "i spy", true),
        ("/i*/", "/i spy/", true),
        ("/i*spy*y/", "/i spy/", false),
        ("ab*ba", "aba", false),
        ("ab*ba", "abba", true),
        ("ab*ba", "ab-ba", true),
        ("a*b*c", "acbc", true),
        ("a*b*c", "acb", false),
        ("*aab*", "aaab", true),
        ("*", "", true),
        ("*", "anything", true),
        ("**", "anything", true),
        ("a**b", "ab", true),
        ("a*", "", false),
        ("x", "", false),
    ] {
        assert_eq!(is_banned(pattern, agent), banned, "{pattern} against {agent}");
    }
}

#[test]
fn an_empty_pattern_matches_no_agent() {
    assert!(!is_banned("", "anything") && !is_banned("", ""));
}

#[test]
fn a_peer_without_a_user_agent_is_accepted_even_if_every_agent_is_banned() {
    let verdict = validate_version(&version(None), None, Network::Mainnet, &banning(&["*"]));
    assert_eq!(verdict, Ok(()));
}

#[test]
fn ignored_bytes_cannot_hide_an_agent() {
    let agents: [&[u8]; 4] = [b"/Sato\0shi:27/", b"/Sat\xffosh\x1bi/", b"/S*a*t*o*s*h*i/", b"\xf0\x9f\x98\x80btc"];
    for agent in agents {
        assert_eq!(judge(agent, &VersionRules::default()), Err(Incompatibility::Blockchain), "{agent:?}");
    }
}

#[test]
fn a_star_in_an_agent_is_not_a_wildcard() {
    assert!(!is_banned("/abc/", "/*/"));
    assert!(is_banned("/abc/", "/a*bc/"), "a star in an agent was not ignored");
}

#[test]
fn the_longest_agent_is_matched_against_the_worst_patterns() {
    let agent = "a".repeat(256);
    let worst = format!("{}b", "*a".repeat(200));
    assert!(!is_banned(&worst, &agent));
    assert!(is_banned(&"*a".repeat(256), &agent));
    assert!(!is_banned(&"*a".repeat(257), &agent));
    assert!(is_banned(&"*".repeat(10_000), &agent));
    assert!(!is_banned(&format!("*{}b*", "a".repeat(128)), &agent));
    assert!(!is_banned(&"a".repeat(100_000), &agent));
    assert!(!is_banned("\u{e9}*\u{1f600}", &agent), "a pattern with characters beyond ASCII matched an ASCII agent");
}

/// Returns whether the pattern matches the whole agent, by trying every possibility.
fn names(pattern: &[u8], agent: &[u8]) -> bool {
    match (pattern, agent) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=agent.len()).any(|skipped| names(rest, &agent[skipped..])),
        ([one, pattern @ ..], [other, agent @ ..]) => one.eq_ignore_ascii_case(other) && names(pattern, agent),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 8))]

    #[test]
    fn the_matcher_agrees_with_a_naive_matcher(pattern in "[abA*]{0,6}", agent in "[aBb]{0,8}") {
        let expected = match pattern.contains('*') {
            true => names(pattern.as_bytes(), agent.as_bytes()),
            false => !pattern.is_empty() && agent.to_lowercase().contains(&pattern.to_lowercase()),
        };
        prop_assert_eq!(is_banned(&pattern, &agent), expected);
    }

    #[test]
    fn no_input_causes_a_panic(pattern in any::<String>(), agent in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = judge(&agent, &banning(&[&pattern]));
        let _ = judge(&agent, &VersionRules::default());
    }
}
