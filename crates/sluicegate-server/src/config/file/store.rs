//! The store: its address alone, or a table.

use std::path::Path;

use super::set;
use crate::config::mistake::shown;
use crate::config::settings::StoreSettings;
use crate::config::store::policy;
use crate::config::tree::{Reading, Section};
use crate::flags::{duration, timeout};
use crate::stores::{StoreAddress, hidden};

/// Reads the store, if the file names one.
pub(super) fn store<'t>(
    reading: &mut Reading<'t>,
    root: &mut Section<'t>,
    folder: &Path,
    settings: &mut StoreSettings,
) {
    let Some(node) = reading.node(root, "store") else { return };
    if let Some(text) = node.get_ref().as_str() {
        return set(&mut settings.address, address(reading, "store", text, folder));
    }
    let Some(table) = node.get_ref().as_table() else {
        let expected = "an address, such as `\"redis://127.0.0.1:6379\"`, or a table with one: `[store]`";
        return reading.wrong_kind("store", node, expected);
    };
    let mut section = Section::new("store", node.span(), table);
    reading.require(&section, "address", "where it is, such as `address = \"redis://127.0.0.1:6379\"`");
    let given = reading.plain(&mut section, "address");
    let given = given.and_then(|text| address(reading, "store.address", text, folder));
    set(&mut settings.address, given);
    settings.timeout = reading.text(&mut section, "timeout", timeout);
    set(&mut settings.away, reading.text(&mut section, "away", policy));
    set(&mut settings.instances, reading.number(&mut section, "instances"));
    settings.lease = reading.text(&mut section, "lease", duration);
    set(&mut settings.max_keys, reading.number(&mut section, "max-keys"));
    reading.close(&section);
}

/// An address, whose files are looked for beside the configuration. What is wrong with it is said without a password.
fn address(reading: &mut Reading<'_>, path: &str, text: &str, folder: &Path) -> Option<StoreAddress> {
    match text.parse::<StoreAddress>() {
        Ok(address) => Some(address.in_folder(folder)),
        Err(error) => {
            let message = format!("`{path}` can't be `{}`", shown(&hidden(text)));
            reading.wrong(reading.places.find(path), message, shown(&error.expected()));
            None
        }
    }
}
