//! Changes of the YAML while the program runs: in force within a second, refused with a place and
//! a cure, and never at the cost of what is owed.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::http::Function;
use tests::node::{PATIENCE, Weft, until};

use crate::{Folders, trigger};

/// The 250 ms between two looks, the 100 ms of rest, and a busy machine; GUARANTEES say a second.
const WITHIN: Duration = Duration::from_secs(1);

fn paths(function: &Function) -> Vec<String> {
    function
        .received()
        .iter()
        .map(|one| one.request.target().to_owned())
        .collect()
}

/// Publishes events of this type until one reaches `path`, and says how long that took.
fn until_routed(weft: &Weft, function: &Function, ty: &str, path: &str) -> Duration {
    let began = Instant::now();
    let mut client = weft.client();
    let mut n = 0;
    until("routed", PATIENCE, || {
        n += 1;
        client
            .publish(&format!("probe-{path}-{n}"), ty)
            .expect("ingress answers");
        let reached = function.look(|all| all.iter().any(|one| one.request.target() == path));
        reached.then(|| began.elapsed())
    })
}

#[test]
fn an_edit_is_in_force_within_a_second() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let yaml = |ty: &str, path: &str| {
        trigger(
            "t",
            &format!("[{{exact: {{type: {ty}}}}}]"),
            &function.uri(path),
            "{}",
        )
    };
    folders.write("t.yaml", &yaml("red", "/first"));
    let weft = folders.start().run();
    weft.publish("1", "red");
    until("delivered", PATIENCE, || {
        (function.count() == 1).then_some(())
    });

    folders.write("t.yaml", &yaml("blue", "/second"));
    let took = until_routed(&weft, &function, "blue", "/second");
    assert!(took < WITHIN, "it took {took:?}");
    let reds = paths(&function)
        .iter()
        .filter(|path| *path == "/first")
        .count();
    weft.publish("2", "red");
    weft.until_settled();
    assert_eq!(
        paths(&function)
            .iter()
            .filter(|path| *path == "/first")
            .count(),
        reds
    );
}

/// The message has file, line, column, what was found and what to write; the last good version
/// stays, and the problem is told once.
#[test]
fn broken_yaml_keeps_the_last_good_version() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let good = trigger("t", "[{exact: {type: red}}]", &function.uri("/good"), "{}");
    folders.write("t.yaml", &good);
    let weft = folders.start().run();

    let bad = good.replace("delivery: {}", "delivery: {backoffDelay: 5 seconds}");
    folders.write("t.yaml", &bad);
    let said = weft.until_said("t.yaml:8:");
    let line = said
        .lines()
        .find(|line| line.contains("t.yaml:8:"))
        .unwrap();
    for part in ["spec.delivery.backoffDelay", "5 seconds", "PT5S"] {
        assert!(line.contains(part), "{part} isn't in: {line}");
    }
    weft.publish("1", "red");
    until("delivered", PATIENCE, || {
        (paths(&function) == ["/good"]).then_some(())
    });
    let problems = weft.status()["problems"].to_string();
    assert!(problems.contains("backoffDelay"), "{problems}");

    // A file that can't be parsed at all.
    folders.write(
        "t.yaml",
        "apiVersion: eventing.knative.dev/v1\nkind: [Trigger\n",
    );
    until("told", PATIENCE, || {
        weft.output()
            .contains("t.yaml:3:")
            .then_some(())
            .or_else(|| weft.output().contains("t.yaml:2:").then_some(()))
    });
    weft.publish("2", "red");
    until("delivered", PATIENCE, || {
        (function.count() == 2).then_some(())
    });

    folders.write("t.yaml", &good.replace("/good", "/mended"));
    until_routed(&weft, &function, "red", "/mended");
    let told = weft.output().matches("t.yaml:8:").count();
    assert_eq!(told, 1, "once, not at each look:\n{}", weft.output());
}

/// What a reload does to a trigger with deliveries that are owed: nothing, whatever the editor.
#[test]
fn no_way_of_saving_cancels_what_is_owed() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let function = Function::start(move |_| {
        if is_up.load(Ordering::Relaxed) {
            200
        } else {
            503
        }
    });
    let folders = Folders::new();
    let yaml = |retry_max: &str| {
        let delivery = format!("{{backoffDelay: PT0.1S, backoffMax: {retry_max}}}");
        trigger("t", "[]", &function.uri("/"), &delivery)
    };
    folders.write("t.yaml", &yaml("PT0.3S"));
    let weft = folders.start().run();
    for n in 0..50 {
        weft.publish(&format!("o-{n}"), "red");
    }
    let path = folders.yaml().join("t.yaml");
    let reloads = |weft: &Weft| weft.output().matches("reloaded:").count();
    let mut version = 1;
    let mut next = || {
        version += 1;
        yaml(&format!("PT0.{version:02}S").replace("PT0.0", "PT0.1"))
    };
    let after = |before: usize, what: &str| {
        until(what, PATIENCE, || (reloads(&weft) > before).then_some(()));
    };

    // Written in two halves.
    let before = reloads(&weft);
    let text = next();
    let (half, rest) = text.split_at(text.len() / 2);
    fs::write(&path, half).unwrap();
    fs::write(&path, format!("{half}{rest}")).unwrap();
    after(before, "a half-written file");

    // Saved beside, renamed over: vim, and most editors.
    let before = reloads(&weft);
    let beside = folders.yaml().join(".t.yaml.swp");
    fs::write(&beside, next()).unwrap();
    fs::rename(&beside, &path).unwrap();
    after(before, "an editor's rename");

    // Renamed away, then written anew: emacs with backups.
    let before = reloads(&weft);
    fs::rename(&path, folders.yaml().join("t.yaml~")).unwrap();
    fs::write(&path, next()).unwrap();
    after(before, "a rename away");

    // `git checkout`: removed, and added later than it was seen to be gone.
    fs::remove_file(&path).unwrap();
    weft.until_said("without a file");
    let before = reloads(&weft);
    fs::write(&path, next()).unwrap();
    after(before, "a checkout");

    // The whole folder is away for a moment.
    let away = folders.yaml().with_extension("away");
    fs::rename(folders.yaml(), &away).unwrap();
    weft.until_said("stays in force");
    fs::rename(&away, folders.yaml()).unwrap();
    let before = reloads(&weft);
    fs::write(&path, next()).unwrap();
    after(before, "the folder came back");

    let status = weft.status();
    assert_eq!(
        (
            status["books"]["owed"].as_u64(),
            status["books"]["cancelled"].as_u64()
        ),
        (Some(50), Some(0)),
        "{status}"
    );
    up.store(true, Ordering::Relaxed);
    weft.until_settled();
    assert_eq!(weft.books("delivered"), 50);
}

/// A mounted ConfigMap: files are links through `..data`, which is swapped for another folder.
#[test]
fn a_config_maps_swap_under_load_cancels_nothing() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let mount = folders.yaml();
    let publish = |version: usize| {
        let folder = mount.join(format!("..2026_{version}"));
        fs::create_dir(&folder).unwrap();
        let filters = "[{exact: {type: red}}]";
        let yaml = trigger("t", filters, &function.uri(&format!("/v{version}")), "{}");
        fs::write(folder.join("t.yaml"), yaml).unwrap();
        let beside = mount.join("..data_tmp");
        symlink(format!("..2026_{version}"), &beside).unwrap();
        fs::rename(&beside, mount.join("..data")).unwrap();
        if version > 0 {
            fs::remove_dir_all(mount.join(format!("..2026_{}", version - 1))).unwrap();
        }
    };
    publish(0);
    symlink("..data/t.yaml", mount.join("t.yaml")).unwrap();
    let weft = folders.start().run();

    let ends = AtomicBool::new(false);
    let published = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut client = weft.client();
            let mut n = 0;
            while !ends.load(Ordering::Relaxed) {
                n += 1;
                assert_eq!(
                    client.publish(&format!("o-{n}"), "red").unwrap().status(),
                    202
                );
            }
            n
        });
        for version in 1..6 {
            publish(version);
            let path = format!("/v{version}");
            until("swapped", PATIENCE, || {
                function
                    .look(|all| all.iter().any(|one| one.request.target() == path))
                    .then_some(())
            });
        }
        ends.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    weft.until_settled();
    let status = weft.status();
    assert_eq!(status["books"]["delivered"].as_u64(), Some(published));
    assert_eq!(status["books"]["cancelled"].as_u64(), Some(0));
}

/// Mends at three in the morning: the address is wrong, is fixed, and what was parked goes there.
#[test]
fn what_is_parked_goes_to_the_address_that_was_fixed() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let delivery = "{backoffDelay: PT0.1S, backoffMax: PT0.2S}";
    folders.write(
        "t.yaml",
        &trigger("t", "[]", "http://127.0.0.1:1/", delivery),
    );
    let weft = folders.start().run();
    weft.publish("o-1", "red");
    let url = "/api/v1/triggers";
    until("tried in vain", PATIENCE, || {
        weft.admin(url)
            .text()
            .contains("\"parked\":1")
            .then_some(())
    });
    folders.write(
        "t.yaml",
        &trigger("t", "[]", &function.uri("/fixed"), delivery),
    );
    weft.until_settled();
    let received = function.received();
    assert_eq!(received.len(), 1);
    assert!(received[0].attempt() > 1, "the count goes on");
}

/// A start with broken YAML keeps the logged versions and says what is broken.
#[test]
fn a_start_with_broken_yaml_keeps_the_logged_versions() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let good = trigger(
        "t",
        "[{exact: {type: red}}]",
        &function.uri("/logged"),
        "{}",
    );
    folders.write("t.yaml", &good);
    let weft = folders.start().run();
    weft.terminate();
    assert_eq!(weft.wait().0, 0);
    folders.write("t.yaml", &good.replace("exact", "exakt"));
    let weft = folders.start().run();
    let said = weft.until_said("t.yaml:6:");
    assert!(said.contains("exakt"), "{said}");
    weft.publish("1", "red");
    until("delivered", PATIENCE, || {
        (paths(&function) == ["/logged"]).then_some(())
    });
}
