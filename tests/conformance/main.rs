//! Knative's conformance cases, cluster-free: over real HTTP against the running program, or against
//! any broker that `WEFT_CONFORMANCE_URL` names.
//!
//! Knative certifies nobody; these are the cases that its own suites run, by their own names, with YAML
//! for set-up. [`case`] says what a case is, [`stage`] what it plays on; all cases share one broker, each in
//! a namespace of its own, so they can run side by side. What stands in `docs/conformance.md` is written
//! from the same list ([`page`]). How to run this against another broker: that page, too.

mod case;
mod ce;
mod consumer;
mod dead_letters;
mod delivery;
mod filters;
mod ingress;
mod others;
mod page;
mod peers;
mod regressions;
mod routing;
mod security;
mod stage;
mod yaml;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use case::{Case, How};
use stage::Stage;

/// Cases mostly wait, for retries above all: more of them at once than there are cores.
const AT_ONCE: usize = 16;

/// All cases, in the order of the page.
fn all() -> Vec<Case> {
    let areas = [
        ingress::cases(),
        consumer::cases(),
        routing::cases(),
        delivery::cases(),
        dead_letters::cases(),
        others::cases(),
        filters::cases(),
        security::cases(),
        regressions::cases(),
    ];
    areas.into_iter().flatten().collect()
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(AT_ONCE);
    if let Some(folder) = stage::folder_to_write() {
        stage::write(&folder, &all());
        return ExitCode::SUCCESS;
    }
    let stage = Arc::new(Stage::new(&all()));
    let mut trials: Vec<Trial> = all().into_iter().map(|case| trial(case, &stage)).collect();
    trials.push(Trial::test("page::docs_conformance_md_is_current", || {
        page::is_current(&all());
        Ok(())
    }));
    trials.extend(peers::trials());
    let conclusion = libtest_mimic::run(&args, trials);
    // Not left to the end of the process, which would leave the broker running.
    drop(stage);
    conclusion.exit_code()
}

/// A case as a test: `later` is ignored and says why, and so is what another broker can't be asked.
fn trial(case: Case, stage: &Arc<Stage>) -> Trial {
    let stage = Arc::clone(stage);
    Trial::ignorable_test(case.test, move || {
        let completion = match &case.how {
            How::Later(why) => libtest_mimic::Completion::ignored_with(why),
            How::Ours { .. } if stage.is_foreign() => {
                libtest_mimic::Completion::ignored_with("asks what only Weft can be asked")
            }
            How::Run { run, .. } | How::Ours { run, .. } => {
                run(&stage.place(case.test));
                libtest_mimic::Completion::Completed
            }
        };
        Ok(completion)
    })
}
