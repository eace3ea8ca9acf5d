//! How many subscribers there may be, in all and with each token. Pure.

use std::collections::HashMap;

use crate::metrics::TurnedAway;

/// The places of subscribers.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: usize,
    most: usize,
    /// Those taken with each token.
    with_token: HashMap<u64, usize>,
    most_with_token: usize,
}

impl Seats {
    /// So many, of which so many may be taken with one token.
    pub(crate) fn new(most: usize, most_with_token: usize) -> Self {
        Self {
            taken: 0,
            most,
            with_token: HashMap::new(),
            most_with_token,
        }
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes one.
    pub(crate) fn take(&mut self, token: Option<u64>) -> Result<(), TurnedAway> {
        if self.taken >= self.most {
            return Err(TurnedAway::Full);
        }
        let with_token = token.and_then(|token| self.with_token.get(&token));
        if with_token.is_some_and(|count| *count >= self.most_with_token) {
            return Err(TurnedAway::Token);
        }
        self.taken += 1;
        if let Some(token) = token {
            *self.with_token.entry(token).or_default() += 1;
        }
        Ok(())
    }

    /// Gives one back that was taken with this token.
    pub(crate) fn give_back(&mut self, token: Option<u64>) {
        self.taken -= 1;
        if let Some(token) = token
            && let Some(count) = self.with_token.get_mut(&token)
        {
            *count -= 1;
            if *count == 0 {
                self.with_token.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_in_all_and_for_each_token_and_can_be_taken_again() {
        let mut seats = Seats::new(3, 2);

        let taken = [Some(1), Some(1), Some(1), None, Some(2)].map(|token| seats.take(token));
        assert_eq!(
            taken,
            [
                Ok(()),
                Ok(()),
                Err(TurnedAway::Token),
                Ok(()),
                Err(TurnedAway::Full)
            ]
        );
        seats.give_back(Some(1));
        assert_eq!(seats.take(Some(1)), Ok(()));
        for token in [Some(1), Some(1), None] {
            seats.give_back(token);
        }
        assert_eq!(seats.taken(), 0);
        assert!(seats.with_token.is_empty());
    }
}
