//! Runs scripts without a server, for values that their statements will have.

use super::Variables;
use super::script::{Program, Step};
use super::value::Value;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// Runs of a script.
const RUNS: u64 = 100;
/// Sets of values of one statement.
type Sets = Vec<Vec<Option<String>>>;

/// For each statement the values of its parameters in some runs of the script, where these don't depend on what
/// the server answers; else none.
pub fn sets(program: &Program, seed: u64) -> Vec<Sets> {
    let mut found = vec![Sets::new(); program.queries.len()];
    for run in 0..RUNS {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(run));
        let mut variables = Variables::new(seed as i64);
        give(program, &mut variables, 0, 1, seed as i64);
        // A run that needs the server's answer, or fails, tells what it told until there.
        let _ = simulate(program, &mut variables, &mut random, &mut found);
    }
    found
}

/// Sets the variables that pgbench sets by itself.
pub fn give(program: &Program, variables: &mut Variables, client: i64, scale: i64, seed: i64) {
    for (name, value) in
        [("client_id", client), ("scale", scale), ("default_seed", seed), ("random_seed", seed)]
    {
        if let Some(variable) = program.variable(name) {
            variables.set(variable, Value::Integer(value));
        }
    }
}

fn simulate(
    program: &Program,
    variables: &mut Variables,
    random: &mut Xoshiro256PlusPlus,
    found: &mut [Sets],
) -> Option<()> {
    // Jumps only lead forward, so it comes to an end.
    let mut at = 0;
    while let Some(step) = program.steps.get(at) {
        at += 1;
        match step {
            Step::Set { variable, expression } => {
                let value = variables.evaluate(expression, random).ok()?;
                variables.set(*variable, value);
            }
            Step::JumpUnless { condition, to } => {
                if !variables.holds(condition, random).ok()? {
                    at = *to;
                }
            }
            Step::Jump { to } => at = *to,
            Step::Sleep { .. } => {}
            Step::Query { query, .. } => {
                let Some(own) = program.queries.get(*query) else { continue };
                let values: Option<Vec<Option<String>>> = own
                    .variables
                    .iter()
                    .map(|variable| variables.get(*variable).map(Value::text))
                    .collect();
                if let (Some(values), Some(sets)) = (values, found.get_mut(*query))
                    && !values.is_empty()
                    && !sets.contains(&values)
                {
                    sets.push(values);
                }
            }
        }
    }
    Some(())
}
