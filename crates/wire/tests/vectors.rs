//! Every recorded message decodes, and encodes to the same bytes again.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use quack_wire::protocol_1::{Batch, Connected, Connecting, Request, Response};
use quack_wire::{Header, MessageType, skim};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn vector(name: &str) -> Bytes {
    fs::read(folder().join(name)).unwrap().into()
}

fn request(name: &str) -> (Header, Request) {
    let (header, body) = Header::decode(&vector(&format!("{name}.request"))).unwrap();
    let request = Request::decode(header.message_type, body).unwrap();
    (header, request)
}

fn response(name: &str) -> (Header, Response) {
    let (header, body) = Header::decode(&vector(&format!("{name}.response"))).unwrap();
    let response = Response::decode(header.message_type, body).unwrap();
    (header, response)
}

#[test]
fn every_recorded_message_encodes_to_its_own_bytes() {
    let (mut requests, mut responses) = (0, 0);
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let encoded = if let Some(name) = name.strip_suffix(".request") {
            requests += 1;
            let (header, request) = request(name);
            request.encode(&header.session, header.client_query)
        } else if let Some(name) = name.strip_suffix(".response") {
            responses += 1;
            let (header, response) = response(name);
            assert_eq!(header.client_query, None, "{name}");
            response.encode(&header.session)
        } else {
            continue;
        };
        assert_eq!(encoded.concat(), vector(&name), "{name}");
    }
    assert!(requests >= 30 && responses >= 30, "{requests} requests, {responses} responses");
}

#[test]
fn no_recorded_message_decodes_when_it_is_cut_short_or_has_a_byte_more() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            continue;
        }
        let whole = vector(&name);
        let decode = |bytes: Bytes| {
            let (header, body) = Header::decode(&bytes)?;
            match name.ends_with(".request") {
                true => Request::decode(header.message_type, body).map(drop),
                false => Response::decode(header.message_type, body).map(drop),
            }
        };
        assert_eq!(decode(whole.clone()), Ok(()));
        // Every length of a small message, some of a large one.
        for length in (0..whole.len()).step_by(whole.len() / 2000 + 1) {
            assert!(decode(whole.slice(..length)).is_err(), "{name} cut to {length} bytes");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(decode(longer.into()).is_err(), "{name} with a byte more");
    }
}

#[test]
fn the_handshake_reads_as_the_client_and_the_server_have_meant_it() {
    let (header, request) = request("attach-1");
    assert_eq!(header.message_type, MessageType::CONNECTION_REQUEST);
    assert_eq!((header.session.as_str(), header.client_query), ("", Some(5)));
    let connecting = Connecting {
        token: "secret-token".into(),
        duckdb_version: "v1.5.5".into(),
        platform: "linux_amd64".into(),
        version_min: 1,
        version_max: 1,
    };
    assert!(!format!("{connecting:?}").contains("secret-token"));
    assert_eq!(request, Request::Connect(connecting));
    let (header, response) = response("attach-1");
    assert_eq!(header.session().unwrap().as_str().len(), 32);
    let connected = Connected { duckdb_version: "v1.5.5".into(), platform: "linux_amd64".into(), version: 1 };
    assert_eq!(response, Response::Connected(connected));
}

#[test]
fn texts_and_errors_read_as_they_were_meant() {
    let sql = |sql: &str| Request::Prepare { sql: sql.into() };
    assert_eq!(request("transaction-1").1, sql("BEGIN TRANSACTION"));
    assert_eq!(request("transaction-2").1, sql("CREATE TABLE tt(a INTEGER);"));
    assert_eq!(request("rollback-1").1, sql("ROLLBACK"));
    assert_eq!(request("empty-text-1").1, sql(""));
    assert_eq!(request("disconnect-1").1, Request::Disconnect);
    assert_eq!(response("disconnect-1").1, Response::Success);
    let error = |message: &str| Response::Error { message: message.into() };
    assert_eq!(response("wrong-token-1").1, error("Authentication failed"));
    assert_eq!(response("empty-text-1").1, error("Query did not return any columns"));
}

#[test]
fn a_result_reads_as_types_names_chunks_and_batches() {
    let Response::Prepared(prepared) = response("fetch-1").1 else { panic!() };
    assert_eq!(prepared.types, [Bytes::from_static(b"d\0\x0a\xff\xff")]);
    assert_eq!(prepared.names, ["b"]);
    assert!(prepared.needs_more_fetch);
    let rows = |chunks: &[Bytes]| chunks.iter().map(|chunk| skim::check_chunk(chunk).unwrap().rows).collect();
    let inline: Vec<u64> = rows(&prepared.chunks);
    assert_eq!(inline, [2048; 12]);
    let mut fetched = Vec::new();
    let mut indexes = Vec::new();
    for name in ["fetch-2", "fetch-3", "fetch-4"] {
        assert_eq!(request(name).1, Request::Fetch { result: prepared.result });
        let Response::Fetched(Batch { chunks, index }) = response(name).1 else { panic!() };
        fetched.extend(rows(&chunks) as Vec<u64>);
        indexes.push(index);
    }
    assert_eq!(indexes, [Some(1), None, None]);
    assert_eq!(inline.iter().chain(&fetched).sum::<u64>(), 27_000);

    let Response::Prepared(empty) = response("result-empty-1").1 else { panic!() };
    assert_eq!((empty.names.len(), empty.chunks.len(), empty.needs_more_fetch), (2, 0, false));
}

#[test]
fn an_append_reads_as_a_table_and_a_chunk() {
    for (name, table, rows) in [
        ("append-all-types-3", "a", 3),
        ("append-constants-1", "w", 2048),
        ("append-constants-2", "w", 952),
        ("append-nested-1", "w", 100),
        ("append-values-1", "d", 2),
        ("append-variant-1", "more", 3),
    ] {
        let Request::Append(append) = request(name).1 else { panic!("{name}") };
        assert_eq!((append.schema.as_str(), append.table.as_str()), ("main", table), "{name}");
        assert_eq!(append.chunk.rows, rows, "{name}");
        assert_eq!(skim::check_chunk(&append.chunk.bytes), Ok(append.chunk), "{name}");
    }
}

#[test]
fn a_long_chunk_is_sent_without_a_copy() {
    let Response::Prepared(prepared) = response("result-all-types-1").1 else { panic!() };
    let segments = Response::Prepared(prepared.clone()).encode("");
    let chunk = &prepared.chunks[0];
    assert!(segments.iter().any(|segment| segment.as_ptr() == chunk.as_ptr()));
}
