//! `policy print`: the SSH algorithms each policy stands for.

use serde_json::json;

use super::args::Global;
use super::outcome::{Failure, print};
use super::table::pairs;
use crate::transfer::{AlgorithmPolicy, PolicyOffer};

/// Prints one policy, or all.
pub(super) fn show(global: &Global, policy: Option<AlgorithmPolicy>) -> Result<(), Failure> {
    let policies = policy.map_or(AlgorithmPolicy::ALL.to_vec(), |policy| vec![policy]);
    let offers: Vec<_> = policies.into_iter().map(AlgorithmPolicy::offer).collect();
    if global.json {
        let policies: Vec<_> = offers.iter().map(in_json).collect();
        return print(format_args!("{:#}", json!({ "policies": policies })));
    }
    let texts: Vec<_> = offers.iter().map(text).collect();
    print(format_args!("{}", texts.join("\n\n")))
}

/// A policy by either of its names.
pub(super) fn named(name: &str) -> Result<AlgorithmPolicy, String> {
    let found = AlgorithmPolicy::ALL.into_iter().find(|policy| policy.names().contains(&name));
    found.ok_or_else(|| "policies are modern, compat and legacy".to_owned())
}

fn lists(offer: &PolicyOffer) -> [(&'static str, &[String]); 5] {
    [
        ("key_exchanges", &offer.key_exchanges),
        ("ciphers", &offer.ciphers),
        ("macs", &offer.macs),
        ("host_keys", &offer.host_keys),
        ("partner_keys", &offer.partner_keys),
    ]
}

fn in_json(offer: &PolicyOffer) -> serde_json::Value {
    let mut value = json!({ "name": offer.name });
    for (name, list) in lists(offer) {
        value[name] = json!(list);
    }
    value
}

fn text(offer: &PolicyOffer) -> String {
    let mut rows = vec![("policy", offer.name.to_owned())];
    rows.extend(lists(offer).map(|(name, list)| (name, list.join(" "))));
    pairs(&rows)
}
