"""triage: from verdicts to one action, by a table of rules; and the incidents that people follow."""
