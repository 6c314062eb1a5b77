//! Which ports of a host are fetched from: those at which recordings are served.
//!
//! A GET that a stranger aims at a database or at a mail server can do harm there: some take each line of it for a
//! command. A network of `CALLVINE_FETCH_ALLOW` is fetched from at every port.

/// Ports from here on need no privilege to listen at, and media servers listen at any of them.
const FREE_FROM: u16 = 1024;

/// Ports of databases and caches above [`FREE_FROM`], by IANA's registry and their own manuals.
const DATABASES: [u16; 36] = [
    1433, 1434, // Microsoft SQL Server
    1521, 1522, 1526, 2483, 2484, // Oracle
    2379, 2380, // etcd
    3050, // Firebird
    3306, 33060, // MySQL
    5432, 5433, 6432, // PostgreSQL, PgBouncer
    5984, 6984, // CouchDB
    6379, 6380, 16379, 26379, // Redis
    7199, 9042, 9160, // Cassandra
    7473, 7474, 7687, // Neo4j
    8086, // InfluxDB
    8123, // ClickHouse
    9200, 9300,  // Elasticsearch
    11211, // memcached
    27017, 27018, 27019, // MongoDB
    50000, // Db2
];

/// Ports of mail above [`FREE_FROM`]: submission to providers, Sieve, and the filters of a mail server. The others are
/// below.
const MAIL: [u16; 4] = [2525, 4190, 10024, 10025];

/// Whether a public host is fetched from at this port.
pub(super) fn serves_recordings(port: u16) -> bool {
    matches!(port, 80 | 443) || (port >= FREE_FROM && !DATABASES.contains(&port) && !MAIL.contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_ports_pass_and_those_of_other_services_do_not() {
        for port in [80, 443, 1024, 3000, 5000, 8000, 8080, 8443, 8088, 9000, 49_152, 65_535] {
            assert!(serves_recordings(port), "{port}");
        }
        let privileged = [0, 1, 21, 22, 23, 25, 53, 81, 110, 143, 389, 445, 465, 587, 993, 995, 1023];
        for port in [&privileged[..], &DATABASES, &MAIL].concat() {
            assert!(!serves_recordings(port), "{port}");
        }
    }
}
