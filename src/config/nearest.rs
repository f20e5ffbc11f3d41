//! The nearest valid name to a misspelt one.

/// Advice that names the valid word nearest to `word`, if one is near.
pub(super) fn suggest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, valid).map(|name| format!("did you mean `{name}`?"))
}

/// Advice in any case: the nearest valid word, else all of them.
pub(super) fn advise(word: &str, valid: &[&str], kind: &str) -> Option<String> {
    if valid.is_empty() {
        return None;
    }
    suggest(word, valid.iter().copied())
        .or_else(|| Some(format!("{kind}: {}", quoted_list(valid.iter().copied()))))
}

/// The valid word nearest to `word`, if it is near enough to be what was meant.
fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // A third of the letters may be wrong, and at least one: `idel`, `tpc`, `listener`.
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    valid
        .into_iter()
        .map(|name| {
            let same_start = word.chars().count() >= 3 && (name.starts_with(&word) || word.starts_with(name));
            let distance = strsim::damerau_levenshtein(&word, &name.to_lowercase());
            (if same_start { distance.min(allowed) } else { distance }, name)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `` `a`, `b` `` from a and b.
pub(super) fn quoted_list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let valid = ["idle", "stall", "lifetime", "max_connections"];
        assert_eq!(nearest("idel", valid), Some("idle"));
        assert_eq!(nearest("IDLE", valid), Some("idle"));
        assert_eq!(nearest("max_conections", valid), Some("max_connections"));
        assert_eq!(nearest("life", valid), Some("lifetime"));
        assert_eq!(nearest("colour", valid), None);
    }
}
