//! A function that kills the broker with `kill -9` whenever it gets one event: the event is set aside,
//! the others are delivered, and the node runs (GUARANTEES 19).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tests::http::Function;
use tests::node::{PATIENCE, Weft, until};

use crate::operate::{says, typed};
use crate::{Folders, trigger};

/// In so many lives of the node no function answers before the node is killed.
const LIVES_WITHOUT_ANSWERS: u32 = 2;

/// What the functions know of the node.
#[derive(Default)]
struct Aim {
    /// The node, once it may be killed.
    at: Mutex<Option<Pid>>,
    kills: AtomicU32,
}

impl Aim {
    /// A function that kills the node when it gets `deadly`, and answers everything else.
    fn function(self: &Arc<Self>, deadly: &'static str) -> Function {
        let aim = Arc::clone(self);
        Function::start(move |request| {
            if request.header("ce-id") == deadly {
                let pid = until("a node to kill", PATIENCE, || {
                    aim.at.lock().expect("nobody panics with it").take()
                });
                kill_process(pid, Signal::KILL).expect("it is there");
            }
            until("killed often enough", PATIENCE, || {
                (aim.kills.load(Ordering::SeqCst) >= LIVES_WITHOUT_ANSWERS).then_some(())
            });
            200
        })
    }

    /// Lets the node be killed. Whether it was; `false` when all is settled.
    fn is_hit(&self, node: &mut Weft) -> bool {
        *self.at.lock().expect("nobody panics with it") = Some(node.pid());
        let hit = until("killed or settled", 3 * PATIENCE, || {
            if node.has_ended() {
                return Some(true);
            }
            // It may end while it is asked.
            let (_, said) = typed(node, &["get", "node", "-o", "json"]);
            let status: serde_json::Value = serde_json::from_str(&said).ok()?;
            let routed = status["log"]["routedTo"] == status["log"]["end"];
            (routed && status["books"]["owed"] == 0).then_some(false)
        });
        self.kills.fetch_add(u32::from(hit), Ordering::SeqCst);
        hit
    }
}

#[test]
fn an_event_whose_function_kills_the_broker_is_set_aside() {
    let aim = Arc::new(Aim::default());
    let (billing, audit) = (aim.function("3"), aim.function("nothing"));
    let folders = Folders::new();
    for (name, function) in [("billing", &billing), ("audit", &audit)] {
        let yaml = trigger(name, "[]", &function.uri("/"), "{}");
        folders.write(&format!("{name}.yaml"), &yaml);
    }
    let mut node = folders.start().run();
    let ids = ["1", "2", "3", "4", "5", "6"];
    ids.iter().for_each(|id| node.publish(id, "order.placed"));
    let mut careful = Vec::new();
    while aim.is_hit(&mut node) {
        assert!(careful.len() < 10, "the node is killed for ever");
        node = folders.start().run();
        careful.push(node.output().contains("CAREFUL"));
    }
    // Killed twice with all in the air, twice with the culprit alone; the next start sets it aside.
    assert_eq!(careful, [false, true, true, true]);
    assert_eq!(node.status()["suspects"], 0);

    let answered = |function: &Function| {
        let got = function.look(|received| {
            let answered = received.iter().filter(|one| one.ended.is_some());
            answered
                .map(|one| one.id().to_owned())
                .collect::<BTreeSet<_>>()
        });
        got.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(answered(&audit), ids);
    assert_eq!(node.books("delivered"), 11, "all but the culprit");
    let tried = billing.look(|received| received.iter().filter(|one| one.id() == "3").count());
    assert_eq!(tried, 4, "no start after the fourth tries it");
    let (_, said) = typed(&node, &["dead-letters", "list", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&said).expect("the list is JSON");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["items"][0]["cause"], "poison", "{list}");
    let letter = list["items"][0]["id"].to_string();
    let why = "weft ended at least 3 times while this was in the air";
    let said = typed(&node, &["dead-letters", "show", &letter]);
    says(&said, 0, &["poison", why, "amount"]);

    // The function is mended, and the letter redriven.
    *aim.at.lock().expect("nobody panics with it") = None;
    node.terminate();
    assert_eq!(node.wait().0, 0);
    let mended = Function::start(|_| 200);
    let yaml = trigger("billing", "[]", &mended.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    assert!(!node.output().contains("CAREFUL"), "{}", node.output());
    let said = typed(
        &node,
        &["dead-letters", "redrive", &letter, "--wait", "--yes"],
    );
    says(&said, 0, &["1"]);
    node.until_settled();
    assert_eq!(answered(&mended), ["3"]);
}
