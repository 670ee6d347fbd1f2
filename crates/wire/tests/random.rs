//! Each encoded message decodes to itself; bytes that are no message give an error and no panic.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quack_wire::protocol_1::{Append, Batch, Connected, Connecting, Prepared, Request, Response};
use quack_wire::{Header, MessageType, ResultId, skim};

fn header() -> impl Strategy<Value = (String, Option<u64>)> {
    ("[0-9A-F]{0,32}", prop_oneof![Just(None), (0..u64::MAX).prop_map(Some)])
}

fn result_id() -> impl Strategy<Value = ResultId> {
    any::<(i64, u64)>().prop_map(|(upper, lower)| ResultId { upper, lower })
}

fn logical_type() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::from_static(b"d\0\x0d\xff\xff")),
        Just(Bytes::from_static(b"d\0\x19\xff\xff")),
        Just(Bytes::from_static(b"d\0ee\0\x01d\0\x04\xc8\0d\0\x0d\xff\xff\xff\xff\xff\xff")),
    ]
}

/// Chunks of one VARCHAR column, shorter and longer than what is sent in a segment of its own.
fn chunk() -> impl Strategy<Value = Bytes> {
    vec("[a-z\\x00ü]{0,100}", 0..100).prop_map(|texts| {
        let mut bytes = b"d\0".to_vec();
        bytes.push(texts.len() as u8);
        bytes.extend(b"e\0\x01d\0\x19\xff\xfff\0\x01d\0\0f\0");
        bytes.push(texts.len() as u8);
        for text in texts {
            let length = text.len();
            bytes.extend([length as u8 | 0x80, (length >> 7) as u8]);
            bytes.extend(text.as_bytes());
        }
        bytes.extend([0xff; 4]);
        bytes.into()
    })
}

fn request() -> impl Strategy<Value = Request> {
    let connect = (".{0,20}", ".{0,20}", ".{0,20}", any::<u64>(), any::<u64>()).prop_map(
        |(token, duckdb_version, platform, version_min, version_max)| {
            Request::Connect(Connecting { token, duckdb_version, platform, version_min, version_max })
        },
    );
    let append = (".{0,20}", ".{0,20}", chunk()).prop_map(|(schema, table, bytes)| {
        let chunk = quack_wire::skim::check_chunk(&bytes).unwrap();
        Request::Append(Append { schema, table, chunk })
    });
    prop_oneof![
        connect,
        ".{0,200}".prop_map(|sql| Request::Prepare { sql }),
        result_id().prop_map(|result| Request::Fetch { result }),
        append,
        Just(Request::Disconnect),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let connected = (".{0,20}", ".{0,20}", any::<u64>()).prop_map(|(duckdb_version, platform, version)| {
        Response::Connected(Connected { duckdb_version, platform, version })
    });
    let prepared = (vec((logical_type(), ".{0,20}"), 0..5), any::<bool>(), vec(chunk(), 0..5), result_id())
        .prop_map(|(columns, needs_more_fetch, chunks, result)| {
            let (types, names) = columns.into_iter().unzip();
            Response::Prepared(Prepared { types, names, needs_more_fetch, chunks, result })
        });
    let index = prop_oneof![Just(None), (0..u64::MAX).prop_map(Some)];
    prop_oneof![
        connected,
        prepared,
        (vec(chunk(), 0..5), index).prop_map(|(chunks, index)| Response::Fetched(Batch { chunks, index })),
        Just(Response::Success),
        ".{0,200}".prop_map(|message| Response::Error { message }),
    ]
}

/// A recorded message with a few bytes changed, put in, or taken out.
fn mutated() -> impl Strategy<Value = Bytes> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut messages: Vec<Vec<u8>> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "md"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    messages.sort();
    let change = (any::<prop::sample::Index>(), 0..4_u8, any::<u8>());
    (prop::sample::select(messages), vec(change, 1..4)).prop_map(|(mut message, changes)| {
        for (place, kind, byte) in changes {
            if message.is_empty() {
                break;
            }
            let place = place.index(message.len());
            match kind {
                0 => message[place] = byte,
                1 => message[place] ^= 1 << (byte % 8),
                2 => message.insert(place, byte),
                _ => drop(message.remove(place)),
            }
        }
        message.into()
    })
}

/// Decodes in every way there is. What decodes must encode, and decode to the same.
fn try_all(bytes: &Bytes) -> Result<(), TestCaseError> {
    let _ = skim::check_chunk(bytes);
    let (header, body) = match Header::decode(bytes) {
        Ok((header, body)) => (header, body),
        Err(_) => (Header::answer(MessageType(3)), bytes.clone()),
    };
    for message_type in (1..=16).chain([100]).map(MessageType) {
        if let Ok(request) = Request::decode(message_type, body.clone()) {
            let encoded: Bytes = request.encode(&header.session, header.client_query).concat().into();
            let (_, body) = Header::decode(&encoded).unwrap();
            prop_assert_eq!(Request::decode(message_type, body), Ok(request));
        }
        if let Ok(response) = Response::decode(message_type, body.clone()) {
            let encoded: Bytes = response.encode(&header.session).concat().into();
            let (_, body) = Header::decode(&encoded).unwrap();
            prop_assert_eq!(Response::decode(message_type, body), Ok(response));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_decodes_to_itself((session, query) in header(), request in request()) {
        let message: Bytes = request.encode(&session, query).concat().into();
        let (header, body) = Header::decode(&message).unwrap();
        prop_assert_eq!((&header.session, header.client_query), (&session, query));
        prop_assert_eq!(Request::decode(header.message_type, body), Ok(request));
    }

    #[test]
    fn a_response_decodes_to_itself((session, _) in header(), response in response()) {
        let message: Bytes = response.encode(&session).concat().into();
        let (header, body) = Header::decode(&message).unwrap();
        prop_assert_eq!(&header.session, &session);
        prop_assert_eq!(Response::decode(header.message_type, body), Ok(response));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        try_all(&bytes.into())?;
    }

    #[test]
    fn random_bytes_that_look_like_fields_never_panic(
        bytes in vec(prop_oneof![0..=5_u8, 90..=110_u8, Just(0xff), Just(0xc8), any::<u8>()], 0..200)
    ) {
        try_all(&bytes.into())?;
    }

    #[test]
    fn mutated_messages_never_panic(bytes in mutated()) {
        try_all(&bytes)?;
    }
}
