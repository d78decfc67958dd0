"""The paper's tables: their rows as configurations, what the paper says, what is measured here."""
