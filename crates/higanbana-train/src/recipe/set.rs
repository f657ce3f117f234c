//! Values in place of a file's.

/// Lays `key.inner=value` over a value; a number is an index into an array.
pub fn lay(value: &mut toml::Value, set: &str) -> Result<(), String> {
    let (keys, text) = set.split_once('=').ok_or("is not KEY=VALUE")?;
    let parsed = toml::from_str::<toml::Table>(&format!("x = {text}"));
    let new = match parsed.ok().and_then(|mut table| table.remove("x")) {
        Some(new) => new,
        None => toml::Value::String(text.into()),
    };
    let mut place = value;
    for key in keys.trim().split('.') {
        place = match place {
            toml::Value::Table(table) => {
                table.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()))
            }
            toml::Value::Array(array) => {
                let count = array.len();
                let index = key.parse::<usize>().ok();
                let entry = index.and_then(|index| array.get_mut(index));
                entry.ok_or_else(|| format!("{key} is no entry of {count}"))?
            }
            _ => return Err(format!("{key} is inside of a plain value")),
        };
    }
    *place = new;
    Ok(())
}
