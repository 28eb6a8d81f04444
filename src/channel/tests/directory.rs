use std::fs;

use super::super::{DirectorySettings, ProviderKind};
use super::{channel, message, send};
use crate::model::{ChannelKind, Outcome, OutgoingMessage};

#[tokio::test]
async fn a_message_is_one_file_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sent");
    let channel = channel(ProviderKind::Directory(DirectorySettings { path: path.clone() }));
    let sms = OutgoingMessage {
        channel: ChannelKind::Sms,
        message_id: "../b-2".to_owned(),
        text: "Grüße\n\"x\"".to_owned(),
        ..message()
    };
    for message in [message(), message(), sms] {
        assert_eq!(send(&channel, &message).await.outcome, Outcome::Accepted);
    }
    let mut names: Vec<String> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["_.._b-2.json", "b-1@acme.example.eml"]);
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(path.join("_.._b-2.json")).unwrap()).unwrap();
    assert_eq!(json["text"], "Grüße\n\"x\"");
    assert_eq!(json["variables"]["first_name"], "Ann");
    let email = fs::read_to_string(path.join("b-1@acme.example.eml")).unwrap();
    assert!(email.contains("Subject: Hello\r\n"));
}
