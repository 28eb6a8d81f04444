//! The commands and their arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::outcome::{Failure, exit_with};
use super::{
    ban, batch, check, demo, halting, manual, password, policy, preview, profile, serve, session,
    status, store, unknown,
};
use crate::batch::BatchOp;
use crate::model::ControlOp;
use crate::transfer::AlgorithmPolicy;

/// File-drop messaging daemon: CSV in over SFTP, FTPS or FTP; messages out; answers back as files.
#[derive(Debug, Parser)]
#[command(name = "dropchute", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "/etc/dropchute/dropchute.toml",
        value_name = "FILE"
    )]
    pub(super) config: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground until SIGTERM; SIGHUP reads the configuration anew.
    Serve,
    /// Run a throw-away daemon, show a sample file's whole journey, then stay up to be tried.
    Demo(demo::DemoArgs),
    /// Check the configuration as a start would; binds no port, writes nothing.
    Check,
    /// Show what a file would do: its answers and first messages. Nothing is stored or sent.
    Preview(preview::PreviewArgs),
    /// Work on the profiles of tenants.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Read a password from stdin and print its argon2id hash for `password_hash`.
    HashPassword,
    /// Show the state of the running daemon.
    Status,
    /// Look at batches of the running daemon, or steer them.
    #[command(subcommand)]
    Batch(BatchCommand),
    /// Look at tenants, stop one, or let it go on.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Look at providers, pause one, or let it go on.
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Look at rows that ended unknown, or say what became of them.
    #[command(subcommand)]
    Unknown(UnknownCommand),
    /// Look at the sources that are banned, or on the way there, or let them in again.
    #[command(subcommand)]
    Ban(BanCommand),
    /// Look at open sessions of the running daemon, or end them.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Work on the store of a daemon that is not running.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Look at the SSH algorithms that a policy stands for.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print what a shell needs to complete commands.
    Completions { shell: Shell },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Subcommand)]
enum BatchCommand {
    /// List batches, newest first.
    List {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
        /// Only those in this state: claimed, held, released, running, paused, closed, refused, duplicate,
        /// or as the ACK says it.
        #[arg(long, value_parser = batch::state)]
        state: Option<String>,
        /// At most so many (1 to 1000).
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one batch.
    Show {
        /// The batch_id, as the ACK gives it.
        batch_id: String,
    },
    /// Follow one batch until nothing of it is left to send.
    Watch {
        /// The batch_id, as the ACK gives it.
        batch_id: String,
    },
    /// Send nothing more of a batch until it is resumed.
    Pause(batch::Act),
    /// Go on with a batch that is paused.
    Resume(batch::Act),
    /// End all rows of a batch that are not sent yet, or refuse a held one.
    Cancel(batch::Act),
    /// Let a held batch go on.
    Approve(batch::Act),
    /// Try the rows of a batch now that wait for their next try; those that wait for their own time or their
    /// window go on waiting.
    Retry(batch::Act),
    /// Send the rows of a closed batch again that ended failed, expired or unknown.
    Resend(batch::Act),
    /// Write the answers of a batch again.
    ResendReport(batch::Act),
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// Propose a profile for files like this one, as TOML to paste. Needs no configuration.
    Learn(profile::LearnArgs),
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// List tenants, and which are suspended, since when, by whom and why.
    List,
    /// Refuse a tenant's new files and send nothing of it until it is resumed. Its messages wait, and run out
    /// of time meanwhile.
    Suspend(halting::OneTenant),
    /// Take a suspended tenant's files and send its messages again.
    Resume(halting::OneTenant),
}

#[derive(Debug, Subcommand)]
enum ProviderCommand {
    /// List providers, and which are paused, since when, by whom and why.
    List,
    /// Begin no attempt at a provider until it is resumed: messages take the channel's next one, or wait.
    Pause(halting::OneProvider),
    /// Go on with a provider that is paused.
    Resume(halting::OneProvider),
}

#[derive(Debug, Subcommand)]
enum UnknownCommand {
    /// List rows that ended unknown, of the newest batch first.
    List(unknown::Which),
    /// Say what became of rows of a closed batch that ended unknown, once the provider was asked. It changes no
    /// published answer: the tenant reads it in receipts_…, and a resend leaves out what arrived.
    Settle(unknown::Settle),
}

#[derive(Debug, Subcommand)]
enum BanCommand {
    /// List sources of failed logins: bans first, then the highest scores.
    List,
    /// Lift a ban and forget the score.
    Remove {
        /// The address, as `ban list` gives it, or `all`.
        address: String,
    },
}

#[derive(Debug, Subcommand)]
enum SessionCommand {
    /// List the connections at the doors, oldest first.
    List(session::Whose),
    /// End sessions at once; their clients are told.
    Kill {
        /// The id, as `session list` gives it.
        #[arg(required_unless_present_any = ["account", "tenant"])]
        id: Option<String>,
        #[command(flatten)]
        whose: session::Whose,
    },
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read every record and say how many there are.
    Check,
    /// Write the whole store as one portable file.
    Dump {
        /// The file to write; it must not be there yet.
        file: PathBuf,
    },
    /// Fill the store of a new `data_dir` from a dump.
    Load {
        /// The file to read.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Print the algorithms of one policy, or of all.
    Print {
        /// Only this one: modern, compat or legacy, with or without its date.
        #[arg(long, value_name = "NAME", value_parser = policy::named)]
        policy: Option<AlgorithmPolicy>,
    },
}

/// Runs what the command line asks for.
pub fn run() -> ExitCode {
    // Clap ends the process itself on a bad command line, with exit code 2.
    let Cli { global, command } = Cli::parse();
    // Rows, keys and the store hold people's addresses: nothing made here is open to everybody.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
    exit_with(match command {
        Command::Serve => serve::serve(&global),
        Command::Demo(args) => demo::demo(args),
        Command::Check => check::check(&global),
        Command::Preview(args) => preview::show(&global, args),
        Command::Profile(ProfileCommand::Learn(args)) => profile::learn(&global, &args),
        Command::HashPassword => password::hash_password(),
        Command::Status => status::status(&global),
        Command::Batch(command) => batch_command(&global, command),
        Command::Tenant(command) => tenant_command(&global, &command),
        Command::Provider(command) => provider_command(&global, &command),
        Command::Unknown(UnknownCommand::List(which)) => unknown::list(&global, &which),
        Command::Unknown(UnknownCommand::Settle(settle)) => unknown::settle(&global, &settle),
        Command::Ban(BanCommand::List) => ban::list(&global),
        Command::Ban(BanCommand::Remove { address }) => ban::remove(&global, &address),
        Command::Session(SessionCommand::List(whose)) => session::list(&global, &whose),
        Command::Session(SessionCommand::Kill { id, whose }) => {
            session::kill(&global, id.as_deref(), &whose)
        }
        Command::Store(command) => store_command(&global, command),
        Command::Policy(PolicyCommand::Print { policy }) => policy::show(&global, policy),
        Command::Completions { shell } => manual::completions(shell, Cli::command()),
        Command::Man => manual::man(Cli::command()),
    })
}

fn batch_command(global: &Global, command: BatchCommand) -> Result<(), Failure> {
    match command {
        BatchCommand::List { tenant, state, limit } => {
            batch::list(global, tenant.as_deref(), state.as_deref(), limit)
        }
        BatchCommand::Show { batch_id } => batch::show(global, &batch_id),
        BatchCommand::Watch { batch_id } => batch::watch(global, &batch_id),
        BatchCommand::Pause(act) => control(global, ControlOp::Pause, &act),
        BatchCommand::Resume(act) => control(global, ControlOp::Resume, &act),
        BatchCommand::Cancel(act) => control(global, ControlOp::Cancel, &act),
        BatchCommand::Approve(act) => control(global, ControlOp::Approve, &act),
        BatchCommand::Retry(act) => batch::act(global, BatchOp::Retry, &act),
        BatchCommand::Resend(act) => control(global, ControlOp::Resend, &act),
        BatchCommand::ResendReport(act) => control(global, ControlOp::ResendReport, &act),
    }
}

fn control(global: &Global, op: ControlOp, act: &batch::Act) -> Result<(), Failure> {
    batch::act(global, BatchOp::Control(op), act)
}

fn tenant_command(global: &Global, command: &TenantCommand) -> Result<(), Failure> {
    match command {
        TenantCommand::List => halting::tenants(global),
        TenantCommand::Suspend(one) => halting::tenant(global, "suspend", one),
        TenantCommand::Resume(one) => halting::tenant(global, "resume", one),
    }
}

fn provider_command(global: &Global, command: &ProviderCommand) -> Result<(), Failure> {
    match command {
        ProviderCommand::List => halting::providers(global),
        ProviderCommand::Pause(one) => halting::provider(global, "pause", one),
        ProviderCommand::Resume(one) => halting::provider(global, "resume", one),
    }
}

fn store_command(global: &Global, command: StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Check => store::check(global),
        StoreCommand::Dump { file } => store::dump(global, &file),
        StoreCommand::Load { file } => store::load(global, &file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_commands_that_exist() {
        let readme = include_str!("../../README.md");
        let mut found = 0;
        for line in readme.lines() {
            let words = line.strip_prefix("sudo ").unwrap_or(line);
            let words = words.strip_prefix("cargo run -- ").or(words.strip_prefix("dropchute "));
            let Some(words) = words else { continue };
            let words = ["dropchute"].into_iter().chain(words.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
            found += 1;
        }
        assert!(found >= 4, "the README shows how to begin");
    }
}
