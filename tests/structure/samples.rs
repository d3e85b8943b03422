//! For each rule, small sources that break it and sources that keep it.

use crate::{
    circles::circles,
    graph::Graph,
    rules::{
        crowded_folders, items_in_facades, long_files, long_functions, root_names, scattered_types,
        sibling_imports, status_matches_outside, unranked, upward_imports,
    },
    source::Source,
};

fn graph(files: &[(&str, &str)]) -> Graph {
    Graph::new(files.iter().copied())
}

/// The imports between the files, each as `from -> to`.
fn imports(files: &[(&str, &str)]) -> Vec<String> {
    let imports = graph(files).imports();
    let mut found: Vec<_> = imports.iter().map(|i| format!("{} -> {}", i.from, i.to)).collect();
    found.dedup();
    found
}

#[test]
fn import_is_seen_however_it_is_written() {
    for text in [
        "use crate::low::b::B;",
        "use crate::{\n    low::{b::{B, C}},\n};",
        "pub(crate) use super::super::low::b::B as D;",
        "use crate::low::b;",
        "use crate::low::b::*;",
        "use crate::low;\nfn f() -> low::b::B {}",
        "use crate::low as l;\nfn f() { l::b::f::<u8>() }",
        "fn f(b: &crate::low::b::B) {}",
        "fn f() {\n    use crate::low::b::B;\n}",
        "macro_rules! m { () => { $crate::low::b::B } }",
        "macro_rules! m { () => { use $crate::low::b::{B, C}; } }",
        "fn f() { g(|| super::super::low::b::B::new(\"}\")) }",
        "use crate::low::B;",
        "use crate::low::Renamed;",
        "use crate::low::*;",
        "use crate::low;\nfn f() -> low::B {}",
    ] {
        let files = [
            ("high/mod.rs", "mod a;"),
            ("high/a.rs", text),
            ("low/mod.rs", "mod b;\npub use self::b::{B, C as Renamed};"),
            ("low/b.rs", "pub struct B;\npub struct C;"),
        ];
        assert_eq!(imports(&files), ["high/a.rs -> low/b.rs"], "{text}");
    }
}

#[test]
fn text_that_is_no_import_is_not_seen() {
    for text in [
        "/// See [`B`](crate::low::b::B).\nfn f() {}",
        "// crate::low::b::B\n/* use crate::low::b::B; */",
        "const A: &str = \"crate::low::b::B\";",
        "#[cfg(test)]\nmod tests {\n    use crate::low::b::B;\n}",
        "#[cfg(test)]\nuse crate::low::b::B;",
        "#[cfg(all(test, failover_loom))]\nimpl A {\n    fn f() { crate::low::b::f() }\n}",
        "struct A {\n    #[cfg(test)]\n    b: crate::low::b::B,\n}",
        "pub(in crate::low::b) fn f() {}",
        "use ::low::b::B;\nuse other::low::b;",
    ] {
        let files = [("high/a.rs", text), ("low/b.rs", "pub struct B;")];
        assert_eq!(imports(&files), [""; 0], "{text}");
    }
    let files = [
        ("high/mod.rs", "#[cfg(test)]\nmod a;"),
        ("high/a.rs", "use crate::low::b::B;"),
        ("high/c/tests.rs", "use crate::low::b::B;"),
        ("high/tests/d.rs", "use crate::low::b::B;"),
        ("low/b.rs", "pub struct B;"),
    ];
    assert_eq!(imports(&files), [""; 0]);
}

#[test]
fn code_under_a_condition_that_a_release_meets_is_seen() {
    for condition in ["#[cfg(not(test))]", "#[cfg(feature = \"a\")]", "#[cfg(any(test, a))]"] {
        let text = format!("{condition}\nuse crate::low::b::B;");
        let files = [("high/a.rs", text.as_str()), ("low/b.rs", "pub struct B;")];
        assert_eq!(imports(&files), ["high/a.rs -> low/b.rs"], "{condition}");
    }
}

#[test]
fn re_exports_are_followed_to_the_file_that_defines() {
    let facades = [
        ("lib.rs", "mod high;\nmod low;\npub mod names {\n    pub use crate::low::B;\n}"),
        ("low/mod.rs", "mod deep;\npub use self::deep::*;"),
        ("low/deep/mod.rs", "mod b;\npub use self::b::B;"),
        ("low/deep/b.rs", "pub struct B;"),
    ];
    for text in ["use crate::low::B;", "use crate::names::B;", "fn f() -> crate::low::B {}"] {
        let files = [facades.as_slice(), &[("high/a.rs", text)]].concat();
        assert_eq!(imports(&files), ["high/a.rs -> low/deep/b.rs"], "{text}");
    }
    // A file that is no facade is imported too when it passes a name on.
    let files = [
        ("a.rs", "use crate::b::C;"),
        ("b.rs", "pub(crate) use crate::c::C;"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(imports(&files), ["a.rs -> b.rs", "a.rs -> c.rs", "b.rs -> c.rs"]);
    // What a facade takes from elsewhere, it imports.
    let files = [
        ("low/mod.rs", "mod a;\npub use self::a::A;\npub use crate::c::C;"),
        ("low/a.rs", "pub struct A;"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(imports(&files), ["low/mod.rs -> c.rs"]);
}

#[test]
fn circle_is_seen() {
    for files in [
        // Files of a folder.
        vec![("x/a.rs", "use super::b::B;"), ("x/b.rs", "use super::a::A;")],
        vec![
            ("x/a.rs", "use super::b::B;"),
            ("x/b.rs", "fn f() { crate::x::c::f() }"),
            ("x/c.rs", "use super::super::x::a;"),
        ],
        // By way of a facade.
        vec![
            ("x/mod.rs", "mod a;\nmod b;\npub use self::{a::A, b::B};"),
            ("x/a.rs", "use crate::x::B;\npub struct A;"),
            ("x/b.rs", "use super::A;\npub struct B;"),
        ],
        // Folders, though no file is in a circle.
        vec![
            ("x/a.rs", "use crate::y::b::B;"),
            ("y/b.rs", "pub struct B;"),
            ("y/c.rs", "use crate::x::d::D;"),
            ("x/d.rs", "pub struct D;"),
        ],
        // Folders of different depth.
        vec![
            ("s/x/deep/a.rs", "use crate::s::y::b::B;"),
            ("s/y/b.rs", "pub struct B;\nuse crate::s::x::c::C;"),
            ("s/x/c.rs", "pub struct C;"),
        ],
        // Folders by way of a file beside them.
        vec![
            ("x/a.rs", "use crate::m::M;"),
            ("m.rs", "use crate::y::b::B;\npub struct M;"),
            ("y/b.rs", "use crate::x::c::C;\npub struct B;"),
            ("x/c.rs", "pub struct C;"),
        ],
        // A folder and a file beside it.
        vec![
            ("s/m.rs", "use super::x::a::A;\npub struct M;"),
            ("s/x/a.rs", "pub struct A;"),
            ("s/x/b.rs", "use crate::s::m::M;"),
        ],
        // A file and the folder of its name.
        vec![
            ("s/m.rs", "mod a;\nuse self::a::A;\npub struct M;"),
            ("s/m/a.rs", "use super::M;\npub struct A;"),
        ],
    ] {
        assert_eq!(circles(&graph(&files)).len(), 1, "{files:?}");
    }
}

#[test]
fn circle_is_described_by_its_imports() {
    let files = [
        ("x/a.rs", "use super::b::B;"),
        ("x/b.rs", "use super::a::A;\nuse super::c::C;"),
        ("x/c.rs", "pub struct C;"),
        ("x/d.rs", "use super::a::A;"),
    ];
    let lines =
        "src/x: a.rs, b.rs\n    x/a.rs -> x/b.rs: super::b::B\n    x/b.rs -> x/a.rs: super::a::A";
    assert_eq!(circles(&graph(&files)), [lines]);
}

#[test]
fn imports_without_a_circle_are_allowed() {
    for files in [
        vec![
            ("x/mod.rs", "mod a;\nmod b;\npub use self::{a::A, b::B};"),
            ("x/a.rs", "use super::B;\nuse super::c;\npub struct A;"),
            ("x/b.rs", "use super::c::C;\npub struct B;"),
            ("x/c.rs", "pub struct C;"),
        ],
        // A file above a folder, and another below it.
        vec![
            ("s/m.rs", "use super::x::a::A;"),
            ("s/x/a.rs", "use crate::s::n::N;\npub struct A;"),
            ("s/n.rs", "pub struct N;"),
        ],
        vec![
            ("s/m.rs", "mod a;\nuse self::a::A;\npub struct M;"),
            ("s/m/a.rs", "pub struct A;"),
            ("s/m/tests.rs", "use super::M;"),
        ],
    ] {
        assert_eq!(circles(&graph(&files)), [""; 0]);
    }
}

#[test]
fn upward_import_is_seen() {
    let others = [
        ("lib.rs", "pub mod classify;\npub use classify::Verdict;"),
        ("stage/options.rs", "pub struct RequestOptions;"),
        ("stage/retry/mod.rs", "pub struct Backoff;"),
        ("report/mod.rs", "mod event;\npub use self::event::Event;\npub use crate::pool::Pool;"),
        ("report/event.rs", "pub struct Event;"),
        ("driver/keep.rs", "pub struct Keep;"),
        ("pool/mod.rs", "mod handle;\npub use self::handle::Pool;"),
        ("pool/handle.rs", "pub struct Pool;"),
        ("classify/mod.rs", "mod verdict;\npub use self::verdict::Verdict;"),
        ("classify/verdict.rs", "pub struct Verdict;"),
        ("answer/mod.rs", ""),
        ("inbound/mod.rs", ""),
        ("layer/mod.rs", ""),
        ("clock.rs", ""),
    ];
    for (path, text, wrong) in [
        ("classify/a.rs", "use crate::stage::options::RequestOptions;", 1),
        ("classify/a.rs", "use crate::{\n    clock,\n    report::{Event},\n};", 1),
        ("classify/x/a.rs", "use super::super::super::driver::keep::Keep;", 1),
        ("report/a.rs", "fn f(pool: &crate::pool::Pool) {}", 1),
        // Upward by the file that defines it, and downward as it is written.
        ("adapter/a.rs", "use crate::body::Keep;", 1),
        ("sync.rs", "use super::classify::Verdict;", 1),
        ("credential/a.rs", "use crate::pool;", 1),
        ("pool/a.rs", "use crate::stage::retry::Backoff;", 1),
        ("adapter/a.rs", "use crate::driver::keep::Keep;", 1),
        ("driver/a.rs", "use crate::layer::Retry;", 1),
        ("layer/a.rs", "use crate::inbound::Guard;", 1),
        // The root is above all.
        ("stage/a.rs", "use crate::Verdict;", 1),
        ("guide/a.rs", "use crate::Verdict;", 1),
        ("lib.rs", "pub use crate::{driver::Keep, stage::Budget};", 0),
        ("layer/a.rs", "use crate::driver::keep::Keep; use crate::{clock::Now, stage::retry};", 0),
        ("adapter/a.rs", "use crate::{answer::Problem, body::Filling, classify::Verdict};", 0),
        ("pool/a.rs", "use super::handle::Pool; use crate::report::Event;", 0),
        ("stage/retry/core.rs", "use super::Backoff; use crate::stage::options;", 0),
        ("classify/a.rs", "/// See [`Pool`](crate::pool::Pool).\nuse super::verdict::Verdict;", 0),
    ] {
        let mut files = others.to_vec();
        files.retain(|(other, _)| *other != path);
        files.extend([(path, text), ("body/mod.rs", "pub use crate::driver::keep::Keep;")]);
        let seen: Vec<_> = upward_imports(&graph(&files))
            .into_iter()
            .filter(|line| line.starts_with(&format!("{path} ")))
            .collect();
        assert_eq!(seen.len(), wrong, "{path}: {text}: {seen:?}");
    }
    let files = [others.as_slice(), &[("report/b.rs", "use super::Pool;")]].concat();
    let wrong = upward_imports(&graph(&files));
    assert_eq!(wrong.len(), 2, "the facade's own import, and one by way of it: {wrong:?}");
}

#[test]
fn module_without_a_rank_is_seen() {
    assert_eq!(unranked(&graph(&[("helpers/a.rs", ""), ("helpers/b.rs", "")])).len(), 1);
    assert_eq!(unranked(&graph(&[("lib.rs", ""), ("clock.rs", ""), ("pool/a.rs", "")])), [""; 0]);
}

#[test]
fn import_of_a_sibling_stage_is_seen() {
    let others = [
        ("stage/mod.rs", "pub use self::{gate::Gate, models::ModelAt};"),
        ("stage/gate/core.rs", "pub struct Gate;"),
        ("stage/gate/mod.rs", "mod core;\npub use self::core::Gate;"),
        ("stage/retry/mod.rs", ""),
        ("stage/models/mod.rs", "mod at;\npub use self::at::ModelAt;"),
        ("stage/models/at.rs", "pub struct ModelAt;"),
        ("stage/options.rs", ""),
    ];
    for (path, text, wrong) in [
        ("stage/rotation/a.rs", "use crate::stage::{options, retry::Backoff};", 1),
        ("stage/rotation.rs", "use super::gate::Gate;", 1),
        ("stage/rotation/a.rs", "use crate::stage::ModelAt;", 1),
        ("stage/retry/a.rs", "fn f() { super::super::models::at::f() }", 1),
        ("stage/models/a.rs", "use super::super::Gate;", 1),
        ("stage/models/a.rs", "use super::at::ModelAt; use crate::stage::options;", 0),
        ("stage/compose.rs", "use super::{gate::Gate, models::ModelAt};", 0),
        ("driver/a.rs", "use crate::stage::{gate::Gate, models::ModelAt};", 0),
    ] {
        let files = [others.as_slice(), &[(path, text)]].concat();
        let seen = sibling_imports(&graph(&files));
        assert_eq!(seen.len(), wrong, "{path}: {text}: {seen:?}");
    }
}

#[test]
fn crowded_folder_is_seen() {
    let names: Vec<_> = (0..20).map(|number| format!("pool/index/f{number}.rs")).collect();
    let full: Vec<_> = names.iter().map(String::as_str).collect();
    let uncounted = [
        "pool/index/mod.rs",
        "pool/index/f0/tests.rs",
        "pool/index/f0/deep.rs",
        "pool/index/tests/a.rs",
        "pool/index/tests.rs",
        "pool/index/table.json",
        "lib.rs",
    ];
    assert_eq!(crowded_folders([full.as_slice(), &uncounted].concat()), [""; 0]);
    for more in ["pool/index/more.rs", "pool/index/more/a.rs", "pool/index/more.md"] {
        let crowded = crowded_folders([full.as_slice(), &[more]].concat());
        assert_eq!(crowded, ["src/pool/index: 21 entries"], "{more}");
    }
}

#[test]
fn long_file_is_seen() {
    let files = |lines: usize, rest: &str| {
        let text = format!("{}{rest}", "// A line.\n".repeat(lines));
        long_files(&graph(&[("a.rs", &text)]))
    };
    assert_eq!(files(321, ""), ["a.rs: 321 lines"]);
    assert_eq!(files(319, "fn f() {}\nfn g() {}\n"), ["a.rs: 321 lines"]);
    assert_eq!(files(320, ""), [""; 0]);
    for tests in ["#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n", "#[cfg(test)]\nmod tests;\n"] {
        assert_eq!(files(320, tests), [""; 0], "{tests}");
        let text = format!("{tests}fn a() {{}}\n");
        assert_eq!(Source::new("a.rs", &text).code.trim(), "fn a() {}");
    }
}

#[test]
fn long_function_is_seen() {
    let functions = |head: &str, lines: usize, tail: &str| {
        let body = "    g();\n    // A comment and an empty line.\n\n".repeat(lines);
        long_functions(&graph(&[("a.rs", &format!("{head} {{\n{body}}}{tail}\n"))]))
    };
    assert_eq!(functions("fn f()", 51, ""), ["a.rs: fn f has 51 lines"]);
    assert_eq!(functions("fn f()", 50, ""), [""; 0]);
    assert_eq!(functions("#[cfg(test)]\nfn f()", 51, ""), [""; 0]);
    assert_eq!(functions("impl A { async fn f<T>(x: [u8; 2]) -> T where T: B", 51, "}").len(), 1);
    assert_eq!(
        functions("fn f() { g(async move", 50, ") }").len(),
        1,
        "the lines of a block count"
    );
    assert_eq!(
        functions("trait A { fn f(x: [u8; 2]); fn g()", 51, "}"),
        ["a.rs: fn g has 51 lines"]
    );
    assert_eq!(functions("macro_rules! m { () => { fn f()", 51, "} }").len(), 1);
}

#[test]
fn scattered_type_is_seen() {
    let block = "use super::a::A;\nimpl A {\n    fn f() {}\n}";
    let three = [
        ("x/a.rs", "pub struct A;\nimpl<'a, T: Fn() -> u8> A<'a, T> where T: B {}\nimpl A {}"),
        ("x/b.rs", block),
        ("x/c.rs", block),
    ];
    let with = |file| scattered_types(&graph(&[three.as_slice(), &[file]].concat()));
    assert_eq!(with(("x/d.rs", block)).len(), 1, "a fourth file");
    assert_eq!(with(("x/d.rs", "use super::a;\nunsafe impl A for a::B {}")), [""; 0]);
    for text in [
        "use super::a::A;\nimpl Clone for A {}",
        "use super::a::A;\nimpl<F: for<'a> Fn(&'a A)> Clone for A where A: B {}",
        "use super::a::A;\nfn f() -> impl Into<A> { g(|x: impl Into<A>| {}) }",
        "use super::a::A;\n#[cfg(test)]\nimpl A {}",
        "struct A;\nimpl A {}",
        "macro_rules! m { ($name:ident) => { impl $name {} } }",
    ] {
        assert_eq!(with(("x/d.rs", text)), [""; 0], "{text}");
    }
    let a = ("x/a.rs", "pub struct A;\nimpl A {}");
    for (path, text) in [
        ("y/b.rs", "use crate::x::a::A;\nimpl A {}"),
        ("x/a/b.rs", "use super::A;\nimpl<T> A<T> {}"),
        ("y/b.rs", "impl crate::x::a::A {}"),
        ("y/b.rs", "use crate::x::A as C;\n#[inline]\nimpl C {}"),
    ] {
        let facade = ("x/mod.rs", "mod a;\npub use self::a::A;");
        let seen = scattered_types(&graph(&[facade, a, (path, text)]));
        assert_eq!(seen.len(), 1, "two folders: {path}: {text}");
    }
}

#[test]
fn item_in_a_facade_is_seen() {
    for item in [
        "pub(crate) const fn f() {}",
        "impl<T> A for T {}",
        "pub struct A;",
        "enum A {}",
        "const A: u8 = 1;",
        "macro_rules! m { () => {} }",
        "use crate::clock::Now;",
        "pub mod names { pub use crate::clock::Now; }",
        "thread_local! { static A: u8 = 1 }",
    ] {
        let text =
            format!("//! Docs.\nmod a;\n#[doc(inline)]\npub use self::a::A;\n{item}\nmod b;");
        assert_eq!(items_in_facades(&graph(&[("stage/mod.rs", &text)])).len(), 1, "{item}");
    }
    let lib = "#![doc = include_str!(\"a.md\")]\npub mod a;\n/// Docs.\npub mod names {\n    pub use a::A;\n}";
    assert_eq!(items_in_facades(&graph(&[("lib.rs", lib)])), [""; 0]);
    let lib = "pub mod names {\n    pub use a::A;\n    pub fn f() {}\n}";
    assert_eq!(items_in_facades(&graph(&[("lib.rs", lib)])).len(), 1);
    let facade = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n#[cfg(test)]\npub(crate) use a::A;\npub(crate) use b::{B, C};";
    assert_eq!(items_in_facades(&graph(&[("stage/mod.rs", facade)])), [""; 0]);
}

#[test]
fn decision_by_a_status_code_is_seen() {
    for line in [
        "if answer.status() == StatusCode::NOT_FOUND {",
        "    StatusCode::UNAUTHORIZED => Next::Pass,",
        "    | StatusCode::UNAUTHORIZED",
        "match status.as_u16() {",
        "if status.as_u16() >= 500 {",
        "if response.status().is_server_error() {",
        "if response.status().is_success() {",
        "matches!(status, StatusCode::OK)",
    ] {
        assert_eq!(status_matches_outside(&graph(&[("driver/a.rs", line)])).len(), 1, "{line}");
        assert_eq!(status_matches_outside(&graph(&[("classify/a.rs", line)])), [""; 0], "{line}");
    }
    for line in ["let status = StatusCode::BAD_GATEWAY;", "// if status.as_u16() >= 500 {"] {
        assert_eq!(status_matches_outside(&graph(&[("driver/a.rs", line)])), [""; 0], "{line}");
    }
}

#[test]
fn root_with_many_names_is_seen() {
    let names: Vec<_> = (0..30).map(|number| format!("N{number}")).collect();
    let thirty = format!("mod a;\npub use self::a::{{{}}};", names.join(", "));
    let count =
        |more: &str| root_names(&graph(&[("lib.rs", &format!("{thirty}\n{more}")), ("a.rs", "")]));
    assert_eq!(count("").len(), 0);
    assert_eq!(count("pub use crate::a::More;").len(), 1);
    assert_eq!(count("#[cfg(feature = \"x\")]\npub use a::{N1 as More};").len(), 1);
    assert_eq!(count("pub use crate::a::*;").len(), 1, "a glob has names that are not seen");
    for more in ["pub use self::a as b;", "pub mod b { pub use crate::a::More; }", "use a::More;"] {
        assert_eq!(count(more), [""; 0], "{more}");
    }
}
