"""The paper's tables: their rows as configurations, the paper's figures, and our measurements."""
