//! The sequence number of a file: where it may stand, and what its place among the others means.

use crate::batch::{NumberPlace, Numbers, SequenceRule};
use crate::codes::ReasonCode;
use crate::records::FileProblem;

/// The number of a file from everything that gives it one; all that do must agree.
pub(super) fn number_of(sources: &[(&str, Option<u64>)]) -> Result<Option<u64>, Box<FileProblem>> {
    let mut found: Option<(&str, u64)> = None;
    for (source, number) in sources {
        let Some(number) = *number else { continue };
        match found {
            Some((first, other)) if other != number => {
                let message = format!("{first} says number {other}, {source} says {number}");
                return Err(refusal(ReasonCode::HeaderDirectiveConflict, message));
            }
            _ => found = Some((source, number)),
        }
    }
    Ok(found.map(|(_, number)| number))
}

/// What is wrong with a number where it stands; `Ok` tells the one that is missing before it, for which
/// the file may wait.
pub(super) fn check_place(
    number: u64,
    numbers: &Numbers,
    rule: SequenceRule,
) -> Result<Option<u64>, Box<FileProblem>> {
    let place = match rule {
        SequenceRule::Off => return Ok(None),
        SequenceRule::Hold | SequenceRule::Reject => numbers.place(number),
    };
    match place {
        NumberPlace::Next | NumberPlace::Late => Ok(None),
        NumberPlace::Used => {
            let next = numbers.next.unwrap_or(number);
            let message = format!("the number {number} was used before; the next one is {next}");
            Err(refusal(ReasonCode::FileSequenceReused, message))
        }
        NumberPlace::Gap { missing } if rule == SequenceRule::Reject => {
            Err(refusal(ReasonCode::FileSequenceGap, gap(missing, number)))
        }
        NumberPlace::Gap { missing } => Ok(Some(missing)),
    }
}

fn refusal(code: ReasonCode, message: String) -> Box<FileProblem> {
    Box::new(FileProblem::new(code, message))
}

/// The sentence about a gap.
pub(super) fn gap(missing: u64, number: u64) -> String {
    format!("the file with number {missing} is missing before number {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_name_a_number_must_agree() {
        let check = |name, directive| {
            number_of(&[("the name", name), ("#seq", directive)]).map_err(|p| p.message)
        };
        assert_eq!(check(None, None), Ok(None));
        assert_eq!(check(Some(7), None), Ok(Some(7)));
        assert_eq!(check(None, Some(7)), Ok(Some(7)));
        assert_eq!(check(Some(7), Some(7)), Ok(Some(7)));
        let conflict = check(Some(7), Some(8)).unwrap_err();
        assert_eq!(conflict, "the name says number 7, #seq says 8");
    }

    #[test]
    fn a_gap_holds_or_refuses_as_the_profile_says() {
        let mut numbers = Numbers::default();
        numbers.take(4);
        let check = |number, rule| check_place(number, &numbers, rule).map_err(|p| p.code);
        assert_eq!(check(9, SequenceRule::Off), Ok(None));
        assert_eq!(check(4, SequenceRule::Off), Ok(None));
        assert_eq!(check(5, SequenceRule::Reject), Ok(None));
        assert_eq!(check(9, SequenceRule::Hold), Ok(Some(5)));
        assert_eq!(check(9, SequenceRule::Reject), Err(ReasonCode::FileSequenceGap));
        assert_eq!(check(4, SequenceRule::Hold), Err(ReasonCode::FileSequenceReused));
    }
}
