//! What a file would do, said by the stations themselves on a scratch folder and a store in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Notify;

use super::error::AppError;
use super::wiring;
use crate::config::Config;
use crate::dispatch::{Rehearsal, Routes, TrialMessage, first_messages};
use crate::intake::{NamePattern, TenantSettings, Trial, try_out};
use crate::model::{BatchId, FileState, TenantId};
use crate::outbox::{self, Publisher};
use crate::report::Answer;
use crate::spool::Spool;
use crate::store::{Facts, SimulatedDisk, Store};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker, blocking};
use crate::world::World;

/// The file to be tried, and as what.
#[derive(Debug, Clone)]
pub struct PreviewRequest {
    pub tenant: TenantId,
    pub file: PathBuf,
    /// The name it would have in the inbox, with the folder of its kind where there is one.
    pub name: String,
    /// The profile it is to be read with, whatever its name.
    pub profile: Option<String>,
    /// The account that would drop it; empty for nobody in particular.
    pub account: String,
    /// So many messages are rendered.
    pub messages_max: usize,
}

/// What the file would do. What depends on earlier files (duplicates, used row ids, sequences) is not
/// seen.
#[derive(Debug)]
pub struct Preview {
    pub facts: Facts,
    /// The answers by their names, byte for byte.
    pub answers: BTreeMap<String, Vec<u8>>,
    /// Those of the first accepted rows.
    pub messages: Vec<TrialMessage>,
}

impl Preview {
    pub fn is_refused(&self) -> bool {
        matches!(self.facts.state, Some(FileState::Rejected | FileState::Duplicate) | None)
    }
}

/// Takes the file through intake and answers it, far from every inbox. Sends nothing and stores nothing
/// that stays.
pub async fn preview(
    config: &Config,
    world: Arc<World>,
    request: PreviewRequest,
) -> Result<Preview, AppError> {
    let scratch = tempfile::tempdir().map_err(AppError::Scratch)?;
    let data_dir = scratch.path().to_owned();
    let home = data_dir.join("tenants").join(request.tenant.as_str());
    std::fs::create_dir_all(&home).map_err(AppError::Scratch)?;
    let (store, spool) = (Store::simulated(&SimulatedDisk::default())?, Spool::open(&data_dir)?);
    let tenant = tenant_of(config, &request)?;
    let now = world.clock.now();
    let (own_store, own_spool, batch) =
        (store.clone(), spool.clone(), BatchId::new(now, world.dice.next_u64()));
    let (file, name, account) = (request.file.clone(), request.name, request.account);
    let record = blocking(move || {
        let trial = Trial { path: format!("inbox/{name}"), account, file: &file, batch, now };
        try_out(own_store, own_spool, &tenant, trial)
    })
    .await?;
    let answers = wiring::answers(config);
    let routes = Routes::new(config.for_dispatch());
    let rehearsal = Rehearsal::new(store.clone(), spool.clone(), routes);
    let settings = outbox::Settings {
        data_dir: data_dir.clone(),
        tenant: Arc::new(move |tenant| answers.get(tenant).cloned()),
        rehearse: Arc::new(move |batch, each| Ok(rehearsal.each_message(batch, each)?)),
    };
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let nudge = Arc::new(Notify::new());
    let mut publisher =
        Publisher::new(store.clone(), spool.clone(), settings, (world, metrics), nudge);
    while publisher.work().await.map_err(AppError::Answers)? == Progress::Busy {}
    if !store.publications(1)?.is_empty() {
        return Err(AppError::Answers("an answer cannot be written".into()));
    }
    let is_accepted =
        matches!(record.facts.state, Some(FileState::Accepted | FileState::AcceptedWithErrors));
    let messages = match config.for_dispatch().into_iter().find(|(id, _)| *id == record.tenant) {
        Some((_, route)) if is_accepted => {
            first_messages(&store, &spool, &route, &record, request.messages_max)?
        }
        _ => Vec::new(),
    };
    let outbox = home.join(record.answer_folder());
    let answers = answers_in(&outbox).map_err(AppError::Scratch)?;
    Ok(Preview { facts: record.facts, answers, messages })
}

/// The tenant's settings, in which the profile that was asked for, and no other, fits the name.
fn tenant_of(config: &Config, request: &PreviewRequest) -> Result<TenantSettings, AppError> {
    let unknown = |what, name: &str| AppError::Unknown { what, name: name.to_owned() };
    let tenants = config.for_intake();
    let mut tenant = tenants
        .into_iter()
        .find(|tenant| tenant.id == request.tenant)
        .ok_or_else(|| unknown("tenant", request.tenant.as_str()))?;
    let Some(name) = &request.profile else { return Ok(tenant) };
    let mut profile = tenant.profile(name).cloned().ok_or_else(|| unknown("profile", name))?;
    let file = request.name.rsplit('/').next().unwrap_or_default();
    profile.matcher = NamePattern::new(&globset::escape(file)).ok();
    tenant.profiles.retain(|other| other.name != *name);
    tenant.profiles.insert(0, profile);
    Ok(tenant)
}

/// Everything but the progress, which says how long this took here.
fn answers_in(folder: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut answers = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && Answer::Progress.pattern().file_of(&name).is_none() {
            answers.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(answers)
}
