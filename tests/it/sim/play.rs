//! Plays a plan: one process after the other on the same disk, until one of them comes to rest.

use std::path::PathBuf;
use std::time::Duration;

use dropchute::store::BatchRecord;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::disk::{Disk, Fault};
use super::plan::{Act, LifePlan, Plan, START, Step, Tell, Told};
use super::providers::arrange_spells;
use crate::halts::tell;
use crate::stage::{Life, Stage};

/// In its own time the last process comes to rest within this.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// How a process ended that did not end by itself.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    pub(crate) at: Timestamp,
    /// Without room on the disk it heard answers that it could not write down.
    pub(crate) disk_failed: bool,
    /// Lines of the log up to then.
    pub(crate) lines: usize,
    pub(crate) power_cut: bool,
}

/// A world in which a plan is played.
pub(crate) struct Theatre {
    pub(crate) plan: Plan,
    pub(crate) stage: Stage,
    disk: Disk,
    pub(crate) deaths: Vec<Death>,
    /// What a partner did, and when it was.
    pub(crate) done: Vec<(Timestamp, Act)>,
    /// Some disk was full in the life that is played.
    was_full: bool,
    /// When the last process began, and when it came to rest.
    pub(crate) end: Timestamp,
    pub(crate) story: Vec<String>,
}

/// How a life went.
enum End {
    Died,
    Rest,
    Late(String),
}

impl Theatre {
    pub(crate) fn new(plan: Plan) -> Theatre {
        let folder = match std::path::Path::new("/dev/shm") {
            memory if memory.is_dir() => tempfile::tempdir_in(memory),
            _ => tempfile::tempdir(),
        };
        let mut stage = Stage::on(folder.unwrap(), &plan.config);
        // Looking is most of what an idle house does, and a seed has hours of it.
        stage.rescan = Duration::from_secs(60);
        let disk = Disk::new(stage.disk.clone(), stage.folder.path().join("lost"));
        let end = START.parse().unwrap();
        let (deaths, done, story) = (Vec::new(), Vec::new(), Vec::new());
        Theatre { plan, stage, disk, deaths, done, was_full: false, end, story }
    }

    /// Plays the plan to its end; says what was left where it never came to rest.
    pub(crate) fn play(&mut self, seed: u64) -> Result<(), String> {
        let mut now: Timestamp = START.parse().unwrap();
        let mut steps = std::mem::take(&mut self.plan.steps);
        for (number, life) in self.plan.lives.clone().into_iter().enumerate() {
            self.story.push(format!("{now} life {number}: {life:?}"));
            let (_, until) = self.life(now, &mut steps, &life, false);
            self.story.push(format!("{until} over after {} operations", self.disk.acts()));
            self.deaths.push(Death {
                at: until,
                lines: self.stage.log.lines().len(),
                power_cut: life.power_cut,
                disk_failed: matches!(life.fault, Fault::Fails { .. }) || self.was_full,
            });
            if life.power_cut {
                self.disk.cut_power(&self.data(), seed ^ number as u64);
                self.stage.boot += 1;
            }
            now = until + life.pause;
        }
        let last = LifePlan {
            fault: Fault::None,
            most: PATIENCE,
            power_cut: false,
            pause: SignedDuration::ZERO,
        };
        self.story.push(format!("{now} last life"));
        let (end, until) = self.life(now, &mut steps, &last, true);
        self.end = until;
        match end {
            End::Rest => Ok(()),
            End::Died => Err("the last process ended by itself".to_owned()),
            End::Late(left) => Err(format!("never at rest; left:\n{left}")),
        }
    }

    /// One more process, to which nothing happens and nothing comes.
    pub(crate) fn live_on(&mut self, how_long: Duration) -> Result<(), String> {
        let plan = LifePlan {
            fault: Fault::None,
            most: how_long,
            power_cut: false,
            pause: SignedDuration::ZERO,
        };
        let start = self.end + SignedDuration::from_secs(60);
        match self.life(start, &mut Vec::new(), &plan, false).0 {
            End::Died => Err("the process after the last ended by itself".to_owned()),
            End::Late(left) => Err(format!("after another start is left:\n{left}")),
            End::Rest => Ok(()),
        }
    }

    /// Whose batch it is; by the log.
    pub(crate) fn tenant_of(&self, batch: &str) -> Option<&'static str> {
        let lines = self.stage.log.lines();
        let claimed = lines.iter().find(|line| line.field("batch") == batch)?;
        self.plan.tenants.iter().copied().find(|tenant| *tenant == claimed.field("tenant"))
    }

    /// Operations on files in the last life.
    pub(crate) fn acts(&self) -> u64 {
        self.disk.acts()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.stage.folder.path().join("data")
    }

    /// With `to_rest` it ends as soon as nothing is left to do.
    fn life(
        &mut self,
        now: Timestamp,
        steps: &mut Vec<Step>,
        plan: &LifePlan,
        to_rest: bool,
    ) -> (End, Timestamp) {
        let suspended = self.suspended();
        self.stage.configure(&self.plan.config_with(suspended));
        let (disk, mut done) = (self.disk.clone(), Vec::new());
        let (mut was_full, mut failures) = (disk.is_full(), Vec::new());
        let spells = &self.plan.spells;
        let config_with = |tenant| self.plan.config_with(tenant);
        // The start itself is not disturbed: a process that cannot begin is the operator's to see.
        self.disk.mend();
        let mut arranged = None;
        let result = self.stage.live(now, async |mut life: Life<'_>| {
            arranged = Some(disk.begin(plan.fault));
            arrange_spells(spells, &life.world, now.as_millisecond() as u64);
            let dead_at = life.world.clock.instant() + plan.most;
            let mut look = Duration::from_secs(1);
            let end = loop {
                while let Some(step) = steps.first()
                    && is_due(step, life.world.clock.now())
                {
                    let mut step = steps.remove(0);
                    match &mut step.act {
                        Act::Reload(tenant) => {
                            self.stage.configure(&config_with(*tenant));
                            if life.app.reload(self.stage.config()).is_err() {
                                // The disk does not let it: the old configuration stays in force.
                                continue;
                            }
                        }
                        Act::Tell(command) => tell_daemon(&self.stage, &life, command).await,
                        Act::DiskFull(is_full) => {
                            disk.fill(*is_full);
                            was_full |= *is_full;
                        }
                        Act::Drop(_) | Act::Ask { .. } => perform(&self.stage, &life, &step),
                    }
                    done.push((life.world.clock.now(), step.act));
                }
                let next = steps.first().map_or(look, |step| until(step, life.world.clock.now()));
                let wake: Instant = (life.world.clock.instant() + next).min(dead_at);
                tokio::select! {
                    biased;
                    () = disk_died(&disk) => break End::Died,
                    failure = life.app.ended() => {
                        failures.push(format!("{} ended: {failure:?}", life.world.clock.now()));
                        break End::Died;
                    }
                    () = tokio::time::sleep_until(wake) => {}
                }
                let is_over = life.world.clock.instant() >= dead_at;
                if life.store.health().failed {
                    // The stations notice at their next step.
                    if is_over { break End::Died } else { continue }
                }
                if is_over {
                    let left = life.left(false);
                    break if left.is_empty() { End::Rest } else { End::Late(left) };
                }
                if to_rest && steps.is_empty() {
                    look = (look * 2).min(Duration::from_secs(60));
                    // Of what is held or paused, too, an end is waited for: it runs out of time.
                    let any_held = !life.store.holds().unwrap().is_empty();
                    let any_open = !life.store.open_batches().unwrap().is_empty();
                    if !any_held && !any_open && life.left(false).is_empty() {
                        break End::Rest;
                    }
                }
            };
            disk.kill();
            (end, life.world.clock.now())
        });
        drop(arranged);
        self.done.extend(done);
        self.was_full = was_full;
        self.story.extend(failures);
        result
    }

    /// What the configuration says now, by what was done.
    fn suspended(&self) -> Option<&'static str> {
        let reload = |(_, act): &(Timestamp, Act)| match act {
            Act::Reload(tenant) => Some(*tenant),
            _ => None,
        };
        self.done.iter().rev().find_map(reload).flatten()
    }
}

async fn disk_died(disk: &Disk) {
    disk.died().notified().await;
}

fn at(step: &Step) -> Timestamp {
    let start: Timestamp = START.parse().unwrap();
    start + step.at
}

fn is_due(step: &Step, now: Timestamp) -> bool {
    at(step) <= now
}

fn until(step: &Step, now: Timestamp) -> Duration {
    Duration::try_from(at(step).duration_since(now)).unwrap_or_default()
}

impl Tell {
    /// From its acknowledgement on nothing begins.
    pub(crate) fn stops(&self) -> bool {
        ["suspend", "pause", "cancel"].contains(&self.op)
    }
}

/// The operator's command; what could not be told is not done.
async fn tell_daemon(stage: &Stage, life: &Life<'_>, command: &mut Tell) {
    let path = match &command.what {
        Told::Tenant(tenant) => format!("/tenants/{tenant}/{}", command.op),
        Told::Provider(provider) => format!("/providers/{provider}/{}", command.op),
        Told::Batch(tenant, name) => {
            let all = life.store.batches(None, usize::MAX).unwrap_or_default();
            let is_meant = |batch: &&BatchRecord| {
                batch.tenant.to_string() == *tenant && batch.name() == name.as_str()
            };
            let Some(batch) = all.iter().rev().find(is_meant) else { return };
            command.batch = Some(batch.id.to_string());
            format!("/batches/{}/{}", batch.id, command.op)
        }
    };
    command.lines = stage.log.lines().len();
    command.done = tell(stage, &path).await.is_ok();
    if command.stops() {
        command.lines = stage.log.lines().len();
    }
}

/// A partner drops a file.
fn perform(stage: &Stage, life: &Life<'_>, step: &Step) {
    let (tenant, path, bytes) = match &step.act {
        Act::Drop(sheet) => (sheet.tenant, &sheet.path, &sheet.bytes),
        Act::Ask { tenant, path, bytes } => (*tenant, path, bytes),
        Act::Reload(_) | Act::Tell(_) | Act::DiskFull(_) => return,
    };
    let file = stage.tenant(&format!("../{tenant}/{path}"));
    // As a door does: another inode than the file that stood there.
    let hidden = file.with_file_name(".upload.part");
    std::fs::write(&hidden, bytes).unwrap();
    std::fs::rename(hidden, file).unwrap();
    if let Some(proof) = step.proof {
        life.see_upload_of(tenant, path.clone(), proof);
    }
}
