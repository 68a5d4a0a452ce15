//! Programs that the tc programs hand packets to, each by its place in an array.

use aya::maps::{MapError, ProgramArray};
use aya::programs::SchedClassifier;
use osi_common::wire::Protocol;

use super::{ProbeState, Probes, refusal};
use crate::snapshot::host::sockets::release_at_least;

/// Whether a program that calls functions of its own may hand on to another one: on x86-64 since 5.10, on aarch64 since 6.0.
pub(super) fn hands_on(release: &str) -> bool {
    cfg!(target_arch = "x86_64") || release_at_least(release, (6, 0))
}

impl Probes {
    /// Loads a protocol's program and puts it in its place. The array keeps it there as long as this process has the array.
    pub(super) fn wire(&mut self, name: &str, protocol: Protocol) -> Result<(), String> {
        if !self.hands_on {
            return Err(
                "programs can not hand packets on before 6.0 on this architecture".to_owned(),
            );
        }
        let tc = self.climbed.iter().find(|status| status.name == "tc");
        if tc.is_none_or(|status| status.state != ProbeState::Active) {
            return Err("tc is unavailable".to_owned());
        }
        let program: &mut SchedClassifier = self.program(name)?;
        program.load().map_err(|error| refusal(&error))?;
        let program = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        let program = program.map_err(|error| refusal(&error))?;
        let map = self
            .ebpf
            .map_mut("WIRE")
            .ok_or("the object has no map WIRE")?;
        let words = |error: MapError| error.to_string();
        let mut array = ProgramArray::try_from(map).map_err(words)?;
        array.set(protocol as u32, &program, 0).map_err(words)
    }
}
