//! `completions` and `man`: the command line described for shells and for `man`.

use std::io::Write;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use super::outcome::Failure;

pub(super) fn completions(shell: Shell, mut command: Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "dropchute", &mut text);
    write(&text)
}

pub(super) fn man(command: Command) -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("render the page")?;
    write(&page)
}

fn write(text: &[u8]) -> Result<(), Failure> {
    Ok(std::io::stdout().write_all(text).context("write to stdout")?)
}
