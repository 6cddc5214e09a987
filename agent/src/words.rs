//! The agent's words on the kernel command line.

/// The kernel command line as the kernel shows it, and what it asks of the agent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The whole line, without the newline that `/proc/cmdline` ends with.
    pub line: String,
    /// Program and arguments of the workload.
    pub run: Option<Vec<String>>,
    /// Stay when there is no workload.
    pub stay: bool,
}

impl Words {
    /// Reads `/proc/cmdline`; an unreadable one is an empty one.
    pub fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    /// Splits `line` at spaces, as the kernel does; quotes have no meaning to the agent.
    pub fn parse(line: &str) -> Self {
        let line = line.trim_end_matches('\n');
        let run = line.split(' ').filter_map(|word| word.strip_prefix("agent.run=")).next_back();
        Self {
            line: line.to_string(),
            run: run.map(|command| command.split(',').map(str::to_string).collect()),
            stay: line.split(' ').any(|word| word == "agent.stay"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_workload_wins() {
        let words = Words::parse("quiet agent.run=/a agent.run=/b,-x,1 panic=1\n");
        assert_eq!(words.run, Some(vec!["/b".into(), "-x".into(), "1".into()]));
        assert_eq!(words.line, "quiet agent.run=/a agent.run=/b,-x,1 panic=1");
        assert!(!words.stay && Words::parse("agent.stay").stay);
    }
}
