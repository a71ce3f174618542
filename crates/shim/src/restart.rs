//! Whether, and after which delay, a container that ended is started again.
//!
//! Docker's rules: 100 ms at first, twice as long each time up to a minute, from the beginning again after a run of at
//! least ten seconds; `on-failure` only after a failure and up to its number of attempts; never after a stop.

use std::time::Duration;

use shim_protocol::spec::RestartPolicy;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
const STABLE: Duration = Duration::from_secs(10);

/// How often and how quickly a container has been restarted.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    delay: Option<Duration>,
    count: u32,
}

impl Restarts {
    /// Restarts so far.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Decides after an exit with `code` of a run that took `ran`. `Some(delay)` counts as a restart.
    pub(crate) fn next(
        &mut self,
        policy: &RestartPolicy,
        code: i32,
        ran: Duration,
        stopped: bool,
    ) -> Option<Duration> {
        let again = !stopped
            && match *policy {
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure { max_retries } => {
                    code != 0 && (max_retries == 0 || self.count < max_retries)
                }
            };
        if !again {
            return None;
        }
        let delay = match self.delay {
            Some(delay) if ran < STABLE => (delay * 2).min(LONGEST),
            _ => FIRST,
        };
        self.delay = Some(delay);
        self.count += 1;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn policies() {
        let on_failure = |max_retries| RestartPolicy::OnFailure { max_retries };
        // (policy, code, stopped, restarts out of five exits)
        let cases = [
            (RestartPolicy::No, 1, false, 0),
            (RestartPolicy::Always, 0, false, 5),
            (RestartPolicy::Always, 137, true, 0),
            (RestartPolicy::UnlessStopped, 0, false, 5),
            (RestartPolicy::UnlessStopped, 0, true, 0),
            (on_failure(0), 1, false, 5),
            (on_failure(0), 0, false, 0),
            (on_failure(3), 1, false, 3),
            (on_failure(3), 1, true, 0),
        ];
        for (policy, code, stopped, expected) in cases {
            let mut restarts = Restarts::default();
            let given = (0..5)
                .filter(|_| restarts.next(&policy, code, SHORT, stopped).is_some())
                .count();
            assert_eq!(given, expected, "{policy:?} {code} {stopped}");
            assert_eq!(usize::try_from(restarts.count()), Ok(expected));
        }
    }

    #[test]
    fn delays_double_up_to_a_minute_and_begin_again_after_a_stable_run() {
        let mut restarts = Restarts::default();
        let mut after = |ran| {
            restarts
                .next(&RestartPolicy::Always, 0, ran, false)
                .map(|delay| delay.as_millis())
        };
        let delays: Vec<_> = (0..12).filter_map(|_| after(SHORT)).collect();
        let expected = [
            100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000,
        ];
        assert_eq!(delays, expected);
        assert_eq!(after(STABLE), Some(100));
        assert_eq!(after(SHORT), Some(200));
    }
}
