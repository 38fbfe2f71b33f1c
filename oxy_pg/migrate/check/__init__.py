"""What would stop the migration, found before the first write: values, keys, orphans."""
