use super::Job;
use super::before::Before;
use super::inject::Refusal;
use super::modes::{Failed, Taken};
impl Job<'_> {
    pub(super) fn by_precopy(&self, _before: Before) -> Result<Taken, Failed> {
        Err(Failed::Refused(Refusal::Lost))
    }
}
