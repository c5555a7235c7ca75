//! What a snapshot knows of relations and views, found by name at once however many there are.

use crate::shape::Catalog;
use pgassay_model::index::RelationName;
use pgassay_model::relation::{Relation, View};
use pgassay_model::snapshot::Snapshot;
use std::collections::HashMap;

/// Relations and views of a snapshot by name.
#[derive(Debug, Clone, Default)]
pub struct Relations<'a> {
    relations: HashMap<&'a str, Vec<&'a Relation>>,
    views: HashMap<&'a str, Vec<&'a View>>,
}

impl<'a> Relations<'a> {
    /// Those of a snapshot.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let mut all = Relations::default();
        for relation in &snapshot.relations {
            all.relations.entry(&relation.name.name).or_default().push(relation);
        }
        for view in &snapshot.views {
            all.views.entry(&view.name.name).or_default().push(view);
        }
        all
    }

    /// The relation of that name.
    pub fn relation(&self, name: &RelationName) -> Option<&'a Relation> {
        let named = self.relations.get(name.name.as_str())?;
        named.iter().copied().find(|known| known.name.schema == name.schema)
    }

    /// The relation meant by a name as it is written.
    pub(crate) fn meant(&self, schema: Option<&str>, name: &str) -> Option<&'a Relation> {
        meant(self.relations.get(name)?, schema, |known| &known.name.schema)
    }
}

impl Catalog for Relations<'_> {
    fn columns(&self, schema: Option<&str>, relation: &str) -> Option<(RelationName, Vec<String>)> {
        let found = self.meant(schema, relation)?;
        Some((found.name.clone(), found.columns.iter().map(|column| column.name.clone()).collect()))
    }

    fn view(&self, schema: Option<&str>, view: &str) -> Option<(RelationName, &str)> {
        let found = meant(self.views.get(view)?, schema, |known| &known.name.schema)?;
        Some((found.name.clone(), &found.definition))
    }
}

/// Of things with the same name: the one in that schema; without one, that of `public`, or the only one.
pub(crate) fn meant<'a, T>(
    named: &[&'a T],
    schema: Option<&str>,
    schema_of: impl Fn(&'a T) -> &'a str,
) -> Option<&'a T> {
    let mut all = named.iter().copied();
    match schema {
        Some(schema) => all.find(|known| schema_of(known) == schema),
        None => all.clone().find(|known| schema_of(known) == "public").or_else(|| {
            let only = all.next()?;
            all.next().is_none().then_some(only)
        }),
    }
}
