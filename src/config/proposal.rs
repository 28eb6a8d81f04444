//! A proposed profile as TOML to paste.

use crate::records::{HeaderMode, Proposal};

/// The profile as a section. Without a tenant it is for a file of `tenants.d`.
pub fn profile_toml(proposal: &Proposal, tenant: Option<&str>) -> String {
    let mut lines: Vec<String> =
        proposal.to_confirm.iter().map(|doubt| format!("# confirm: {doubt}")).collect();
    let section = tenant.map_or_else(String::new, |tenant| format!("tenant.{tenant}."));
    lines.push(format!("[{section}profile.{}]", key(&proposal.name)));
    lines.push(format!("match      = {}", text(&proposal.pattern)));
    lines.push("kind       = \"messages\"".to_owned());
    lines.push(format!("delimiter  = {}", text(&char::from(proposal.delimiter).to_string())));
    match proposal.quote {
        Some(b'"') => {}
        Some(quote) => {
            lines.push(format!("quote      = {}", text(&char::from(quote).to_string())));
        }
        None => lines.push("quote      = \"none\"".to_owned()),
    }
    if let Some(encoding) = proposal.encoding {
        lines.push(format!("encoding   = {}", text(&encoding.to_ascii_lowercase())));
    }
    if proposal.skip_lines > 0 {
        lines.push(format!("skip_lines = {}", proposal.skip_lines));
    }
    if let Some(format) = proposal.date_format {
        lines.push(format!("date_format = {}", text(format)));
    }
    if let HeaderMode::Columns(names) = &proposal.header {
        let names: Vec<String> = names.iter().map(|name| text(name)).collect();
        lines.push("header     = \"none\"".to_owned());
        lines.push(format!("columns    = [{}]", names.join(", ")));
    }
    for (table, entries) in [("columns", &proposal.columns), ("defaults", &proposal.defaults)] {
        if !entries.is_empty() {
            let entry =
                |(name, value): &(String, String)| format!("{} = {}", key(name), text(value));
            let entries: Vec<String> = entries.iter().map(entry).collect();
            lines.push(format!("{table:<10} = {{ {} }}", entries.join(", ")));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_bare = !name.is_empty() && name.chars().all(bare);
    if is_bare { name.to_owned() } else { text(name) }
}

/// What JSON escapes in a text, TOML understands.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
