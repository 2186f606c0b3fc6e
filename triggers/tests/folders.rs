//! Folders as people and Kubernetes lay them out.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use expect_test::{Expect, expect};
use triggers::files::{FILE_BYTES_MAX, read};

/// Reads `folders` under `root` and tells what was found, with `root` left out.
#[track_caller]
fn check(root: &Path, folders: &[&str], expect: Expect) {
    let paths: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let told = match read(&paths) {
        Err(error) => error.to_string(),
        Ok(files) => {
            let lines: Vec<String> = files
                .iter()
                .map(|file| match &file.text {
                    Ok(text) => format!("{}: {text}", file.path),
                    Err(error) => format!("{} {error}", file.path),
                })
                .collect();
            lines.join("\n")
        }
    };
    expect.assert_eq(&told.replace(&*root.to_string_lossy(), ""));
}

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    let folder = path.parent().expect("every path here is below a root");
    fs::create_dir_all(folder).expect("the test's own folder can be written");
    fs::write(path, content).expect("the test's own folder can be written");
}

#[test]
fn files_in_order_without_what_is_hidden_or_something_else() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root.join("b/z.yaml"), "z");
    write(root.join("b/y.yml"), "y");
    write(root.join("b/readme.md"), "no");
    write(root.join("b/.hidden.yaml"), "no");
    write(root.join("b/.git/x.yaml"), "no");
    write(root.join("b/z.yaml~"), "no");
    write(root.join("b/a/deep/w.yaml"), "w");
    write(root.join("a/one.yaml"), "one");
    check(
        root,
        &["b", "a"],
        expect![[r#"
        /b/y.yml: y
        /b/z.yaml: z
        /b/a/deep/w.yaml: w
        /a/one.yaml: one"#]],
    );
    check(root, &["a/one.yaml", "a"], expect![[r#"/a/one.yaml: one"#]]);
}

/// A mounted ConfigMap: `node.yaml -> ..data/node.yaml`, `..data -> ..2026_11`. An update
/// writes a new folder and swaps the link.
#[test]
fn a_config_map_counts_once_before_and_after_its_swap() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root.join("m/..one/node.yaml"), "old");
    write(root.join("m/..two/node.yaml"), "new");
    symlink("..one", root.join("m/..data")).unwrap();
    symlink("..data/node.yaml", root.join("m/node.yaml")).unwrap();
    check(root, &["m"], expect![[r#"/m/node.yaml: old"#]]);
    symlink("..two", root.join("m/..tmp")).unwrap();
    fs::rename(root.join("m/..tmp"), root.join("m/..data")).unwrap();
    check(root, &["m"], expect![[r#"/m/node.yaml: new"#]]);
}

#[test]
fn links_in_a_circle_and_to_nothing_end() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root.join("a/one.yaml"), "one");
    symlink(root.join("a"), root.join("a/again")).unwrap();
    symlink(root.join("a/one.yaml"), root.join("a/two.yaml")).unwrap();
    symlink("nowhere.yaml", root.join("a/zero.yaml")).unwrap();
    symlink("loop.yaml", root.join("a/loop.yaml")).unwrap();
    check(
        root,
        &["a"],
        expect![[r#"
        /a/loop.yaml cannot be read: Too many levels of symbolic links (os error 40)
        /a/one.yaml: one"#]],
    );
}

#[test]
fn a_folder_that_is_missing_or_empty_is_an_error_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root.join("full/one.yaml"), "one");
    write(root.join("other/readme.md"), "no");
    write(root.join("hidden/.one.yaml"), "no");
    check(
        root,
        &["full", "missing"],
        expect![[r#"folder /missing does not exist"#]],
    );
    check(
        root,
        &["other"],
        expect![[r#"folder /other has no .yaml or .yml file in it"#]],
    );
    check(
        root,
        &["hidden"],
        expect![[r#"folder /hidden has no .yaml or .yml file in it"#]],
    );
    check(
        root,
        &["other/readme.md"],
        expect![[r#"/other/readme.md is not a folder and not a .yaml or .yml file"#]],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_spoils_no_other() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root.join("a/1.yaml"), b"abc\xff");
    write(root.join("a/2.yaml"), "two");
    let huge = fs::File::create(root.join("a/3.yaml")).unwrap();
    huge.set_len(FILE_BYTES_MAX + 1).unwrap();
    check(
        root,
        &["a"],
        expect![[r#"
        /a/1.yaml is not UTF-8 at byte 3
        /a/2.yaml: two
        /a/3.yaml is 16777217 bytes, a file may have at most 16777216"#]],
    );
}
