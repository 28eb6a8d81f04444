//! What exports call their columns, in several languages.

use crate::model::normalise_name;

/// Standard names and the words for them, folded: lower case, without accents, joined by underscores.
const WORDS: &[(&str, &str)] = &[
    (
        "email",
        "email e_mail mail email_address e_mail_address mail_address emailadresse e_mail_adresse \
         mailadresse mail_adresse courriel adresse_email adresse_mail adresse_e_mail correo \
         correo_electronico email_cliente indirizzo_email posta_elettronica emailadres e_mailadres \
         endereco_de_email adres_e_mail adres_email epost e_post epostadress e_posta eposta \
         sahkoposti smtp_addr kunden_email",
    ),
    (
        "phone",
        "phone phone_number phone_no phonenumber mobile mobile_number mobile_no mobile_phone msisdn \
         cell cell_phone cellphone telephone tel tel_no telefon telefonnummer telefon_nr tel_nr \
         telefonnr handy handynummer handy_nr handynr mobil mobilnummer mobil_nr mobiltelefon \
         mobilfunk mobilfunknummer rufnummer mobile_rufnummer gsm gsm_nummer portable \
         telephone_portable telephone_mobile numero_de_telephone numero_telephone telefono \
         telefono_movil movil celular numero_telefono numero_de_telefono cellulare numero_cellulare \
         telefoon telefoonnummer mobiel mobiele_nummer telefone telemovel numero_de_telemovel \
         komorka telefon_komorkowy numer_telefonu mobilni_telefon telefonni_cislo cep_telefonu \
         puhelin puhelinnumero tel_number mob_number telf1 telf2 sms_number",
    ),
    (
        "text",
        "text message message_text msg body sms sms_text smstext nachricht nachrichtentext \
         nachricht_text meldung mitteilung inhalt texte contenu message_sms mensaje texto \
         texto_mensaje messaggio testo testo_sms bericht berichttekst tekst mensagem wiadomosc \
         tresc meddelande besked zprava text_zpravy mesaj viesti",
    ),
    (
        "subject",
        "subject betreff betreffzeile objet sujet asunto oggetto assunto onderwerp temat aemne amne emne \
         predmet konu aihe",
    ),
    (
        "var_first_name",
        "first_name firstname given_name vorname prenom nombre nome voornaam imie fornamn fornavn \
         jmeno etunimi name_first",
    ),
    (
        "var_last_name",
        "last_name lastname surname family_name nachname familienname nom nom_de_famille apellido \
         apellidos cognome sobrenome achternaam nazwisko efternamn efternavn prijmeni soyad \
         sukunimi name_last",
    ),
    (
        "send_at",
        "send_at send_time send_date scheduled_at sendezeit sendezeitpunkt sendedatum versandzeit \
         versandzeitpunkt versanddatum date_envoi date_d_envoi fecha_envio fecha_de_envio data_invio \
         data_de_envio verzenddatum data_wysylki",
    ),
    (
        "country",
        "country country_code land laenderkennzeichen laendercode land1 pays pais paese kraj",
    ),
    ("lang", "lang language language_code sprache spras langue idioma lingua taal jezyk sprak"),
    ("channel", "channel kanal versandkanal canal canale kanaal"),
    ("template", "template template_name vorlage vorlagenname modele plantilla modello sjabloon"),
    (
        "row_id",
        "row_id message_id nachrichten_id lfd_nr lfdnr laufende_nummer laufnummer belegnummer beleg_nr belnr vbeln \
         vorgangsnummer rechnungsnummer rechnungsnr invoice_number invoice_no numero_de_facture \
         numero_factura transaction_id",
    ),
];

/// The standard name that a header cell probably means.
pub(super) fn meaning(cell: &str) -> Option<&'static str> {
    let folded = folded(cell);
    let means = |(_, words): &&(&str, &str)| words.split_whitespace().any(|word| word == folded);
    WORDS.iter().find(means).map(|(standard, _)| *standard)
}

/// The name in lower-case letters, digits and underscores.
pub(super) fn folded(cell: &str) -> String {
    let mut folded = String::new();
    for letter in normalise_name(cell).chars() {
        let plain = match letter {
            'a'..='z' | '0'..='9' => {
                folded.push(letter);
                continue;
            }
            'ä' => "ae",
            'ö' => "oe",
            'ü' => "ue",
            'ß' => "ss",
            'à' | 'á' | 'â' | 'ã' | 'å' | 'ą' => "a",
            'ç' | 'ć' | 'č' => "c",
            'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => "e",
            'ì' | 'í' | 'î' | 'ï' => "i",
            'ñ' | 'ń' => "n",
            'ò' | 'ó' | 'ô' | 'õ' | 'ø' => "o",
            'ù' | 'ú' | 'û' | 'ů' => "u",
            'ý' => "y",
            'ś' | 'š' => "s",
            'ź' | 'ż' | 'ž' => "z",
            'ł' => "l",
            'ř' => "r",
            _ => "_",
        };
        if plain != "_" || !folded.ends_with('_') {
            folded.push_str(plain);
        }
    }
    folded.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_many_tongues_are_understood() {
        for (cell, expected) in [
            ("E-Mail-Adresse", Some("email")),
            ("Correo electrónico", Some("email")),
            ("SMTP_ADDR", Some("email")),
            ("Handy-Nr.", Some("phone")),
            ("Téléphone portable", Some("phone")),
            ("Móvil", Some("phone")),
            ("Nachricht", Some("text")),
            ("Ämne", Some("subject")),
            ("Prénom", Some("var_first_name")),
            ("Lfd. Nr.", Some("row_id")),
            ("ID", None),
            ("Referenz", None),
            ("KDNR", None),
            ("", None),
        ] {
            assert_eq!(meaning(cell), expected, "{cell}");
        }
        assert_eq!(folded(" Straße & Hausnr. "), "strasse_hausnr");
    }
}
