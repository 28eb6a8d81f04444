//! From a file's name to what it is packed in and how its records are written.

use std::io::{self, Read};

use crate::model::FileForm;

use super::objects;
use super::settings::{HeaderMode, ReadSettings};

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zip,
}

impl Packing {
    /// By the name's ending; the bytes are held against it later.
    pub fn of_name(name: &str) -> Option<Packing> {
        match ending(name)?.as_str() {
            "gz" => Some(Packing::Gzip),
            "zip" => Some(Packing::Zip),
            _ => None,
        }
    }

    /// The name of what is packed: the file's own without its last ending.
    pub fn inside(name: &str) -> &str {
        match Packing::of_name(name) {
            Some(_) => name.rsplit_once('.').map_or(name, |(inside, _)| inside),
            None => name,
        }
    }
}

/// By the ending of a name that is not packed.
pub fn form_of_name(name: &str) -> FileForm {
    match ending(name).as_deref() {
        Some("xlsx") => FileForm::Workbook,
        Some("jsonl") => FileForm::Objects,
        _ => FileForm::Delimited,
    }
}

fn ending(name: &str) -> Option<String> {
    Some(name.rsplit_once('.')?.1.to_ascii_lowercase())
}

impl ReadSettings {
    /// How text of this form is read under these settings. Of objects, `text` is read once to its end:
    /// their columns are all the names that stand in it.
    pub fn for_form(&self, form: FileForm, text: impl Read) -> io::Result<ReadSettings> {
        let mut settings = ReadSettings { form, ..self.clone() };
        if form == FileForm::Delimited {
            return Ok(settings);
        }
        settings.delimiter = Some(b',');
        if form == FileForm::Objects {
            settings.skip_lines = 0;
            settings.header = HeaderMode::Columns(objects::columns(text, &settings)?);
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_packing_and_form() {
        for (name, packing, form) in [
            ("a.csv", None, FileForm::Delimited),
            ("a.csv.gz", Some(Packing::Gzip), FileForm::Delimited),
            ("A.XLSX", None, FileForm::Workbook),
            ("a.jsonl.GZ", Some(Packing::Gzip), FileForm::Objects),
            ("a.xlsx.Zip", Some(Packing::Zip), FileForm::Workbook),
            ("jsonl", None, FileForm::Delimited),
            ("a.xlsx.rejected.csv", None, FileForm::Delimited),
        ] {
            let found = (Packing::of_name(name), form_of_name(Packing::inside(name)));
            assert_eq!(found, (packing, form), "{name}");
        }
    }
}
