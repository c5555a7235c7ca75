//! Bodies of functions and views that no statement of the workload needs: they stay where they are.
//!
//! What is needed is told by names alone, so rather too much is kept than too little: a function or a view stays where
//! its name stands in a statement, in the definition of a relation, an index, a type or an operator, or in the body of
//! a function or a view that stays.

use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::Workload;
use pgassay_shadow::Blueprint;
use pgassay_shadow::blueprint::Definition;
use std::collections::BTreeSet;

/// How definitions of functions and procedures begin, as `pg_get_functiondef` writes them.
const FUNCTIONS: [&str; 2] = ["CREATE OR REPLACE FUNCTION ", "CREATE OR REPLACE PROCEDURE "];

/// Takes them out of the blueprint; returns their names, as SQL.
pub fn leave_out(blueprint: &mut Blueprint, workload: &Workload) -> Vec<String> {
    let mut known = BTreeSet::new();
    for statement in &workload.statements {
        learn(&mut known, &statement.sql);
    }
    for script in &workload.scripts {
        learn(&mut known, &script.text);
    }
    for definition in blueprint.beginnings.iter().chain(&blueprint.definitions) {
        if function(definition).is_none() {
            learn(&mut known, &definition.sql);
        }
    }
    let mut open: Vec<&Definition> = blueprint
        .definitions
        .iter()
        .filter(|definition| function(definition).is_some())
        .chain(&blueprint.views)
        .collect();
    loop {
        let (needed, rest): (Vec<&Definition>, Vec<&Definition>) =
            open.into_iter().partition(|definition| is_named(definition, &known));
        open = rest;
        if needed.is_empty() {
            break;
        }
        needed.iter().for_each(|definition| learn(&mut known, &definition.sql));
    }
    let without: BTreeSet<String> = open.iter().map(|definition| definition.sql.clone()).collect();
    let mut names: Vec<String> = open.into_iter().map(name).collect();
    names.dedup();
    blueprint.definitions.retain(|definition| !without.contains(&definition.sql));
    blueprint.views.retain(|definition| !without.contains(&definition.sql));
    names
}

/// Takes the names of functions out of the snapshot that no statement, and no view of the snapshot, has in its text.
pub fn leave_out_functions(snapshot: &mut Snapshot, workload: &Workload) {
    let mut known = BTreeSet::new();
    let statements = workload.statements.iter().map(|statement| &statement.sql);
    let views = snapshot.views.iter().map(|view| &view.definition);
    statements.chain(views).for_each(|sql| learn(&mut known, sql));
    snapshot
        .immutable_functions
        .retain(|name| words(own_name(name)).all(|word| known.contains(&word)));
}

/// Without its schema, since names need none; one in quotes as a whole.
fn own_name(qualified: &str) -> &str {
    match qualified.split_once('.') {
        Some((_, own)) if !qualified.contains('"') => own,
        _ => qualified,
    }
}

/// The name and the arguments of a function.
fn function(definition: &Definition) -> Option<&str> {
    let rest = FUNCTIONS.iter().find_map(|beginning| definition.sql.strip_prefix(beginning))?;
    rest.lines().next()
}

/// What a definition that is left out is called.
fn name(definition: &Definition) -> String {
    match (function(definition), &definition.relation) {
        (Some(function), _) => function.to_owned(),
        (None, Some(view)) => view.to_string(),
        (None, None) => String::new(),
    }
}

fn is_named(definition: &Definition, known: &BTreeSet<String>) -> bool {
    match (function(definition), &definition.relation) {
        (Some(function), _) => {
            let qualified = function.split('(').next().unwrap_or_default();
            words(own_name(qualified)).all(|word| known.contains(&word))
        }
        (None, Some(view)) => words(&view.name).all(|word| known.contains(&word)),
        (None, None) => true,
    }
}

fn learn(known: &mut BTreeSet<String>, sql: &str) {
    known.extend(words(sql));
}

/// Words of a text, in lower case, in which most names are written.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use pgassay_model::index::RelationName;
    use pgassay_model::workload::WorkloadStatement;
    use pgassay_shadow::blueprint::Need;

    fn definition(relation: Option<&str>, sql: &str) -> Definition {
        let relation = relation
            .map(|name| RelationName { schema: "public".to_owned(), name: name.to_owned() });
        Definition { relation, sql: sql.to_owned(), need: Need::Plans }
    }

    fn blueprint() -> Blueprint {
        serde_json::from_value(serde_json::json!({
            "schema": "pgassay/blueprint/1", "version_num": 150000,
            "database": {"encoding": "UTF8", "collate": "C", "ctype": "C", "provider": "c", "locale": null, "block_size": 8192},
            "settings": [], "beginnings": [], "definitions": [], "views": [], "sizes": [], "statistics": [],
            "extended": [], "enums": [], "endpoints": [], "lacking": [],
        }))
        .unwrap()
    }

    #[test]
    fn what_a_statement_reaches_stays_through_any_number_of_bodies_and_the_rest_goes() {
        let mut target = blueprint();
        let body = |name: &str, body: &str| {
            let sql = format!(
                "CREATE OR REPLACE FUNCTION public.{name}(x text)\n RETURNS text\nAS $$ {body} $$"
            );
            definition(None, &sql)
        };
        target.definitions = vec![
            definition(Some("t"), "CREATE TABLE public.t (a text DEFAULT public.of_default('x'))"),
            body("of_default", "SELECT 1"),
            body("of_view", "SELECT inner_one(x)"),
            body("inner_one", "SELECT 2"),
            body("\"Odd one\"", "SELECT 3"),
            body("unneeded", "SELECT 'secret'"),
        ];
        target.views = vec![
            definition(Some("seen"), "CREATE VIEW public.seen (a) AS SELECT of_view(a) FROM below"),
            definition(Some("below"), "CREATE VIEW public.below (a) AS SELECT a FROM t"),
            definition(
                Some("hidden"),
                "CREATE VIEW public.hidden (a) AS SELECT unneeded(a) FROM t",
            ),
        ];
        let statements = ["SELECT * FROM SEEN", "SELECT \"Odd one\"('y')"]
            .map(|sql| WorkloadStatement { sql: sql.into(), ..WorkloadStatement::default() });
        let mut workload: Workload = serde_json::from_value(serde_json::json!({
            "schema": "pgassay/workload/1", "generated_at": "2026-01-01T00:00:00Z", "source": "test", "statements": [],
        }))
        .unwrap();
        workload.statements = statements.to_vec();
        let names = leave_out(&mut target, &workload);
        assert_eq!(names, ["public.unneeded(x text)", "public.hidden"]);
        assert_eq!((target.definitions.len(), target.views.len()), (5, 2));
    }
}
