//! Where a recipient is, as far as that is known: a zone by its name, a country, or nothing.

/// In front of a country where a place is no single zone.
const COUNTRY: &str = "country:";
/// Countries and their zones, a line each.
const COUNTRIES: &str = include_str!("countries.tab");

/// The place of somebody of whom the country is known (two capital letters); empty where nobody lives
/// there by a clock.
pub fn place_in(country: &str) -> String {
    match zones_of(country).next() {
        Some(_) => format!("{COUNTRY}{country}"),
        None => String::new(),
    }
}

/// The country of a place that is no single zone.
pub fn country_in(place: &str) -> Option<&str> {
    place.strip_prefix(COUNTRY)
}

/// The zones of a country whose clocks may differ from now on.
pub fn zones_of(country: &str) -> impl Iterator<Item = &'static str> {
    let lines = COUNTRIES.lines().filter(|line| !line.starts_with('#'));
    let mut lines = lines.map(|line| line.split(' '));
    let line = lines.find(|line| line.clone().next() == Some(country));
    line.into_iter().flatten().skip(1)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;

    use super::*;

    #[test]
    fn every_country_has_zones_that_are_built_into_the_program() {
        let zones = TimeZoneDatabase::bundled();
        let (mut countries, mut several) = (0, 0);
        for line in COUNTRIES.lines().filter(|line| !line.starts_with('#')) {
            let (country, names) = line.split_once(' ').unwrap();
            assert_eq!(country.len(), 2, "{line}");
            let found: Vec<&str> = zones_of(country).collect();
            assert_eq!(found, names.split(' ').collect::<Vec<_>>());
            assert!(found.iter().all(|name| zones.get(name).is_ok()), "{line}");
            countries += 1;
            several += usize::from(found.len() > 1);
        }
        assert!(countries > 240 && several > 20, "{countries} countries, {several} with several");
        assert_eq!(zones_of("DE").collect::<Vec<_>>(), ["Europe/Berlin"]);
        assert_eq!(country_in(&place_in("US")), Some("US"));
        assert_eq!(country_in("Europe/Berlin"), None);
        assert_eq!(place_in("XX"), "");
        assert_eq!(place_in("#"), "");
    }
}
