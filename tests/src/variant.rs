//! A variant of one of the agent's probes, which is forced where one is named.

use anyhow::Result;

use crate::agent::Agent;

/// Which.
#[derive(Debug)]
pub struct Choice<'a> {
    probe: &'a str,
    variant: Option<&'a str>,
    /// As the agent's option wants it.
    word: Option<String>,
}

impl<'a> Choice<'a> {
    /// This variant, or the best that there is.
    pub fn new(probe: &'a str, variant: Option<&'a str>) -> Self {
        let word = variant.map(|variant| format!("{probe}={variant}"));
        Self {
            probe,
            variant,
            word,
        }
    }

    /// The agent's options for it.
    pub fn options(&self) -> Vec<&str> {
        let words = self.word.iter();
        words.flat_map(|word| ["--probe-variant", word]).collect()
    }

    /// Why the kernel has no such variant, where it has none. Fails where an agent has another one, or where there is none at all and
    /// none was asked for.
    pub fn refused(&self, agent: &Agent) -> Result<Option<String>> {
        let probe = agent.probe(self.probe)?;
        let is_active = probe["state"] == "active";
        if let Some(variant) = self.variant
            && !is_active
        {
            let reason = probe["reason"].as_str().unwrap_or("it does not say why");
            return Ok(Some(format!("this kernel refuses {variant}: {reason}")));
        }
        let is_it = self
            .variant
            .is_none_or(|variant| probe["variant"] == variant);
        agent.ensure(is_active && is_it, || {
            format!("{:?} was asked for, and the probe is {probe}", self.variant)
        })?;
        Ok(None)
    }
}
