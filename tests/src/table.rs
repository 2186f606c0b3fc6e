//! What came of each delivery, as a table: the form in which a scenario shows its attempts.

use std::collections::BTreeMap;

use broker::records::{FORWARD, Outcome};
use expect_test::Expect;

use crate::sinks::Key;
use crate::world::World;

/// One delivery.
struct Row {
    /// Whose: the trigger's name, or `trigger#dead` where its dead letter is forwarded.
    whose: String,
    /// The event's id.
    id: String,
    /// What its function answered, in order.
    said: String,
    /// How it ended.
    end: String,
}

impl World {
    /// Compares what came of each delivery, a line each: trigger, event, what its function
    /// answered, and how it ended. Deliveries of a dead letter sink come as `trigger#dead`.
    pub fn check(&self, expect: Expect) {
        expect.assert_eq(&self.table());
    }

    /// The table that [`World::check`] compares.
    pub fn table(&self) -> String {
        let rows = self.rows();
        let width = rows.iter().map(|row| row.whose.len()).max().unwrap_or(0);
        let mut table = String::new();
        for Row {
            whose,
            id,
            said,
            end,
        } in &rows
        {
            let gap = if said.is_empty() { "" } else { "  " };
            table += &format!("{whose:width$}  {id}  {said}{gap}{end}\n");
        }
        table
    }

    /// The same for many events: a line for each way it went, and how many went it.
    pub fn check_grouped(&self, expect: Expect) {
        expect.assert_eq(&self.grouped());
    }

    /// The table that [`World::check_grouped`] compares.
    pub fn grouped(&self) -> String {
        let mut groups: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        for row in self.rows() {
            *groups.entry((row.whose, row.said, row.end)).or_default() += 1;
        }
        let width = groups.keys().map(|(whose, ..)| whose.len()).max();
        let width = width.unwrap_or(0);
        let mut table = String::new();
        for ((whose, said, end), count) in &groups {
            let gap = if said.is_empty() { "" } else { "  " };
            table += &format!("{whose:width$}  {said}{gap}{end}  ×{count}\n");
        }
        table
    }

    /// Compares when attempts were made: a line for each stretch of seconds between two of `bounds`,
    /// since the world began, and each trigger that sent something in it, with the answers. Triggers
    /// whose names differ in their last number only are one line.
    pub fn check_times(&self, bounds: &[u64], expect: Expect) {
        expect.assert_eq(&self.times(bounds));
    }

    /// The table that [`World::check_times`] compares.
    pub fn times(&self, bounds: &[u64]) -> String {
        let mut stretches: BTreeMap<(usize, String), BTreeMap<String, usize>> = BTreeMap::new();
        self.sinks.each(|call| {
            let seconds = call.began.as_secs();
            let stretch = bounds.partition_point(|bound| *bound <= seconds);
            let name = call
                .whose
                .trim_end_matches(|last: char| last.is_ascii_digit());
            let rest = if name == call.whose { "" } else { "*" };
            let answers = stretches.entry((stretch, format!("{name}{rest}")));
            let answer = match call.ended {
                Some(_) => call.answer.clone(),
                None => "…".to_owned(),
            };
            *answers.or_default().entry(answer).or_default() += 1;
        });
        let width = stretches.keys().map(|(_, name)| name.len()).max();
        let width = width.unwrap_or(0);
        let mut table = String::new();
        for ((stretch, name), answers) in &stretches {
            let from = stretch.checked_sub(1).map_or(0, |before| bounds[before]);
            let until = bounds.get(*stretch).map(u64::to_string).unwrap_or_default();
            let stretch = format!("{from}-{until} s");
            let answers: Vec<String> = answers
                .iter()
                .map(|(answer, count)| format!("{answer} ×{count}"))
                .collect();
            table += &format!("{stretch:14}  {name:width$}  {}\n", answers.join(" "));
        }
        table
    }

    fn rows(&self) -> Vec<Row> {
        let log = self.log();
        let mut rows = BTreeMap::new();
        for ((number, offset), end) in &log.deliveries {
            let name = log.name(*number);
            let Some(event) = log.event_of(*number, *offset) else {
                continue;
            };
            let end = end.map_or("owed".to_owned(), |end| match end {
                Outcome::Delivered if number & FORWARD != 0 => "forwarded".to_owned(),
                end => end.to_string(),
            });
            let at = log.event_offset(*number, *offset);
            rows.insert((name, at), (event.key.clone(), end));
        }
        let mut answers: BTreeMap<(String, Key), Vec<String>> = BTreeMap::new();
        self.sinks.each(|call| {
            let word = if call.ended.is_none() {
                "…".to_owned()
            } else {
                call.answer.clone()
            };
            answers
                .entry((call.whose.clone(), call.key.clone()))
                .or_default()
                .push(word);
        });
        rows.into_iter()
            .map(|((whose, _), (key, end))| {
                let (_, id) = key.clone();
                let said = answers.get(&(whose.clone(), key));
                let said = said.map_or(String::new(), |said| shorten(said));
                Row {
                    whose,
                    id,
                    said,
                    end,
                }
            })
            .collect()
    }
}

/// `503 503 503 200`, or `503 ×40 200` where that is shorter.
fn shorten(words: &[String]) -> String {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for word in words {
        match runs.last_mut() {
            Some((last, count)) if last == word => *count += 1,
            _ => runs.push((word, 1)),
        }
    }
    let text = |(word, count): (&str, usize)| match count {
        1..5 => vec![word; count].join(" "),
        _ => format!("{word} ×{count}"),
    };
    runs.into_iter().map(text).collect::<Vec<_>>().join(" ")
}
