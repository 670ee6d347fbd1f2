//! Chunks made by hand: every form of vector, and every lie that one can tell.

use bytes::Bytes;

use super::*;

const END: &[u8] = &[0xff, 0xff];
const INTEGER: &[u8] = b"d\0\x0d\xff\xff";
const VARCHAR: &[u8] = b"d\0\x19\xff\xff";
/// `info` of a type, without the end of the type.
fn info(type_id: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    [b"d\0", &[type_id][..], b"e\0\x01d\0", &[kind], rest, END, END].concat()
}

fn list_of(child: &[u8]) -> Vec<u8> {
    info(101, 4, &[b"\xc8\0", child].concat())
}

fn array_of(child: &[u8], size: &[u8]) -> Vec<u8> {
    info(108, 9, &[b"\xc8\0", child, b"\xc9\0", size].concat())
}

fn struct_of(child: &[u8]) -> Vec<u8> {
    info(100, 5, &[b"\xc8\0\x01\0\0\x01x\x01\0", child, END].concat())
}

/// A chunk of one column; `rows` is already encoded.
fn chunk(rows: &[u8], logical_type: &[u8], vector: &[u8]) -> Bytes {
    [b"d\0", rows, b"e\0\x01", logical_type, b"f\0\x01", vector, END, END].concat().into()
}

/// `count` as LEB128.
fn leb(mut count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while count >= 0x80 {
        bytes.push(count as u8 | 0x80);
        count >>= 7;
    }
    bytes.push(count as u8);
    bytes
}

/// The rows of a chunk that is sound.
fn rows_of(bytes: &Bytes) -> Result<u64, Error> {
    check_chunk(bytes).map(|chunk| chunk.rows)
}

#[test]
fn every_form_of_vector_is_passed_over() {
    let seven = b"d\0\0f\0\x04\x07\0\0\0";
    for (name, rows, logical_type, vector) in [
        ("flat", 1, INTEGER.to_vec(), seven.to_vec()),
        (
            "flat with validity",
            1,
            INTEGER.to_vec(),
            b"d\0\x01e\0\x08\xfe\0\0\0\0\0\0\0f\0\x04\x07\0\0\0".to_vec(),
        ),
        ("constant", 100, INTEGER.to_vec(), [b"Z\0\x02", &seven[..]].concat()),
        ("constant text", 100, VARCHAR.to_vec(), b"Z\0\x02d\0\0f\0\x01\x03abc".to_vec()),
        ("sequence", 100, INTEGER.to_vec(), b"Z\0\x04[\0\x7f\\\0\x01".to_vec()),
        ("dictionary", 2, INTEGER.to_vec(), [b"Z\0\x03[\0\x08\0\0\0\0\0\0\0\0\\\0\x01", &seven[..]].concat()),
        ("struct", 1, struct_of(INTEGER), [b"d\0\0g\0\x01", &seven[..], END].concat()),
        (
            "list",
            1,
            list_of(INTEGER),
            [b"d\0\0h\0\x01i\0\x01d\0\0e\0\x01\xff\xffj\0", &seven[..], END].concat(),
        ),
        ("array", 1, array_of(INTEGER, &[1]), [b"d\0\0g\0\x01h\0", &seven[..], END].concat()),
        ("no rows", 0, INTEGER.to_vec(), b"d\0\0f\0\0".to_vec()),
    ] {
        let bytes = chunk(&leb(rows), &logical_type, &vector);
        assert_eq!(rows_of(&bytes), Ok(rows), "{name}");
        for length in 0..bytes.len() {
            assert!(rows_of(&bytes.slice(..length)).is_err(), "{name} cut to {length}");
        }
    }
}

#[test]
fn a_row_count_beyond_the_limit_is_refused_before_anything_is_read() {
    for rows in [CHUNK_ROWS_MAX + 1, u64::from(u32::MAX), u64::MAX] {
        let bytes = chunk(&leb(rows), INTEGER, b"Z\0\x04[\0\0\\\0\x01");
        let refused = Error::TooLong { what: "chunk rows", found: rows, max: CHUNK_ROWS_MAX };
        assert_eq!(rows_of(&bytes), Err(refused));
    }
}

#[test]
fn chunks_longer_than_a_vector_are_taken() {
    let rows = 100_000;
    let vector = [b"d\0\0f\0", &leb(4 * rows)[..], &vec![7; 4 * rows as usize]].concat();
    assert_eq!(rows_of(&chunk(&leb(rows), INTEGER, &vector)), Ok(rows));
}

#[test]
fn rows_and_columns_that_take_too_much_memory_together_are_refused() {
    let columns = 1000;
    let wide = |rows: u64| -> Bytes {
        let types = VARCHAR.repeat(columns);
        let vectors = b"Z\0\x02d\0\0f\0\x01\0\xff\xff".repeat(columns);
        let (rows, columns) = (leb(rows), leb(columns as u64));
        [b"d\0", &rows[..], b"e\0", &columns, &types, b"f\0", &columns, &vectors, END].concat().into()
    };
    assert_eq!(rows_of(&wide(10_000)), Ok(10_000));
    let refused = rows_of(&wide(40_000));
    assert!(matches!(refused, Err(Error::TooLong { what: "memory for vectors", .. })), "{refused:?}");
}

#[test]
fn sizes_that_do_not_follow_from_the_type_and_the_rows_are_refused() {
    let invalid = |what| Err(Error::Invalid { what });
    for (what, rows, logical_type, vector) in [
        ("data", 2, INTEGER.to_vec(), b"d\0\0f\0\x04\x07\0\0\0".to_vec()),
        ("validity", 65, VARCHAR.to_vec(), b"d\0\x01e\0\x08\0\0\0\0\0\0\0\0".to_vec()),
        ("strings", 2, VARCHAR.to_vec(), b"d\0\0f\0\x01\x01a".to_vec()),
        ("struct children", 1, struct_of(INTEGER), b"d\0\0g\0\0".to_vec()),
        ("list entries", 2, list_of(INTEGER), b"d\0\0h\0\0i\0\x01d\0\0e\0\0\xff\xff".to_vec()),
        ("list entry", 1, list_of(INTEGER), b"d\0\0h\0\x01i\0\x01d\0\x01e\0\x01\xff\xff".to_vec()),
        ("array size", 1, array_of(INTEGER, &[2]), b"d\0\0g\0\x01h\0".to_vec()),
        ("dictionary selection", 1, INTEGER.to_vec(), b"Z\0\x03[\0\x04\x01\0\0\0\\\0\x01".to_vec()),
        ("vector type", 1, VARCHAR.to_vec(), b"Z\0\x04[\0\0\\\0\x01".to_vec()),
        ("vector type", 1, INTEGER.to_vec(), b"Z\0\x05".to_vec()),
    ] {
        assert_eq!(rows_of(&chunk(&leb(rows), &logical_type, &vector)), invalid(what), "{what}");
    }
    // A list entry whose end overflows.
    let entry = [b"d\0\0h\0\x01i\0\x01d\0\x01e\0", &leb(u64::MAX)[..], END].concat();
    assert_eq!(rows_of(&chunk(&[1], &list_of(INTEGER), &entry)), invalid("list entry"));
}

#[test]
fn vectors_that_would_grow_without_bound_are_refused() {
    let too_long = |result| matches!(result, Err(Error::TooLong { what: "memory for vectors", .. }));
    let constant = b"Z\0\x02d\0\0f\0\x04\x07\0\0\0";
    let entries = |items: u64| [b"d\0\0h\0", &leb(items)[..], b"i\0\x01d\0\0e\0\x01\xff\xffj\0"].concat();
    let list = |items| chunk(&[1], &list_of(INTEGER), &[&entries(items)[..], constant, END].concat());
    assert_eq!(rows_of(&list(1 << 20)), Ok(1));
    assert!(too_long(rows_of(&list(1 << 40))));
    assert!(too_long(rows_of(&list(u64::MAX))));
    let array = |size: u64| {
        let vector = [b"d\0\0g\0", &leb(size)[..], b"h\0", constant, END].concat();
        chunk(&[1], &array_of(INTEGER, &leb(size)), &vector)
    };
    assert_eq!(rows_of(&array(1 << 14)), Ok(1));
    assert!(too_long(rows_of(&array(ARRAY_ITEMS_MAX))));
    let refused = Error::TooLong { what: "array size", found: ARRAY_ITEMS_MAX + 1, max: ARRAY_ITEMS_MAX };
    assert_eq!(rows_of(&array(ARRAY_ITEMS_MAX + 1)), Err(refused));
    // An empty struct has no data at all, however many there are.
    let nothing = info(100, 5, &[]);
    let items = [&entries(1 << 40)[..], b"d\0\0g\0\0", END].concat();
    assert!(too_long(rows_of(&chunk(&[1], &list_of(&nothing), &items))));
}

#[test]
fn rows_that_share_their_values_are_counted_with_values_of_their_own() {
    let text = |bytes: usize| [&leb(bytes as u64)[..], &vec![b'x'; bytes]].concat();
    let one = |bytes: usize| [b"d\0\0f\0\x01", &text(bytes)[..]].concat();
    let constant = |bytes: usize| [b"Z\0\x02", &one(bytes)[..]].concat();
    let codes = |codes: &[u32]| codes.iter().flat_map(|code| code.to_le_bytes()).collect::<Vec<_>>();
    let dictionary = |selection: &[u32], bytes: usize| {
        let selection = codes(selection);
        let values = [b"d\0\0f\0\x02", &text(1)[..], &text(bytes)].concat();
        [b"Z\0\x03[\0", &leb(selection.len() as u64)[..], &selection, b"\\\0\x02", &values].concat()
    };
    let lists = |entries: &[(u64, u64)], child: &[u8], items: u64| {
        let entry =
            |(offset, length): &(u64, u64)| [b"d\0", &leb(*offset)[..], b"e\0", &leb(*length), END].concat();
        let written = entries.iter().map(entry).collect::<Vec<_>>().concat();
        let count = leb(entries.len() as u64);
        [b"d\0\0h\0", &leb(items)[..], b"i\0", &count, &written, b"j\0", child, END].concat()
    };
    let integers = |count: u64| [b"d\0\0f\0", &leb(4 * count)[..], &vec![1; 4 * count as usize]].concat();
    let mib = 1 << 20;
    // Rows, the type, the vector, and whether four gigabytes hold its values.
    for (name, rows, logical_type, vector, fits) in [
        ("a constant text", 2048, VARCHAR.to_vec(), constant(mib), true),
        ("a constant text of many rows", 5000, VARCHAR.to_vec(), constant(mib), false),
        ("one code", 2048, VARCHAR.to_vec(), dictionary(&[1; 2048], 2 * mib), false),
        ("another code", 2048, VARCHAR.to_vec(), dictionary(&[0; 2048], 2 * mib), true),
        (
            "lists over one child",
            2048,
            list_of(INTEGER),
            lists(&[(0, mib as u64); 2048], &integers(mib as u64), mib as u64),
            false,
        ),
        (
            "short lists over it",
            2048,
            list_of(INTEGER),
            lists(&[(9, 99); 2048], &integers(mib as u64), mib as u64),
            true,
        ),
        ("lists of one text", 2048, list_of(VARCHAR), lists(&[(0, 1); 2048], &one(2 * mib), 1), false),
        ("lists of no text", 2048, list_of(VARCHAR), lists(&[(1, 0); 2048], &one(2 * mib), 1), true),
        (
            "members",
            2048,
            struct_of(VARCHAR),
            [b"d\0\0g\0\x01", &constant(2 * mib)[..], END, END].concat(),
            false,
        ),
    ] {
        let found = rows_of(&chunk(&leb(rows), &logical_type, &vector));
        let refused = matches!(found, Err(Error::TooLong { what: "values of the rows", .. }));
        assert_eq!((found.is_ok(), refused), (fits, !fits), "{name}: {found:?}");
    }
    // The memory is that of the vector with a place for each row, and of the message.
    let bytes = chunk(&leb(2048), VARCHAR, &constant(mib));
    let taken = check_chunk(&bytes).unwrap().memory_bytes;
    assert_eq!(taken, bytes.len() as u64 + 2 * 2048 * 16);
}

#[test]
fn many_constant_vectors_are_counted_together() {
    let hugeint = b"d\0\x32\xff\xff";
    let items = leb(1 << 20);
    let value = [b"Z\0\x02d\0\0f\0\x10", &[0; 16][..], END].concat();
    let list = [b"d\0\0h\0", &items[..], b"i\0\x01d\0\0e\0\x01\xff\xffj\0", &value, END].concat();
    // The text at the end is long enough to hold a byte for every item of each list.
    let text = [b"d\0\0f\0\x01", &leb(2 << 20)[..], &vec![b'x'; 2 << 20], END].concat();
    let with = |lists: usize| -> Bytes {
        let count = leb(lists as u64 + 1);
        let types = [&list_of(hugeint).repeat(lists)[..], VARCHAR].concat();
        [b"d\0\x01e\0", &count[..], &types, b"f\0", &count, &list.repeat(lists), &text, END].concat().into()
    };
    assert_eq!(rows_of(&with(10)), Ok(1));
    let refused = rows_of(&with(20));
    assert!(matches!(refused, Err(Error::TooLong { what: "memory for vectors", .. })), "{refused:?}");
}

#[test]
fn a_constant_inside_a_constant_is_refused() {
    let vector = [&b"Z\0\x02".repeat(100_000)[..], b"d\0\0f\0\x04\x07\0\0\0"].concat();
    assert_eq!(
        rows_of(&chunk(&[1], INTEGER, &vector)),
        Err(Error::FieldMismatch { expected: 100, found: 90 })
    );
}

#[test]
fn types_nested_too_deeply_or_too_many_are_refused() {
    let mut nested = INTEGER.to_vec();
    for _ in 1..NESTING_MAX {
        nested = list_of(&nested);
    }
    let no_lists = |depth: usize| {
        let mut vector = b"d\0\0f\0\0".to_vec();
        for _ in 1..depth {
            vector = [b"d\0\0h\0\0i\0\0j\0", &vector[..], END].concat();
        }
        vector
    };
    assert_eq!(rows_of(&chunk(&[0], &nested, &no_lists(NESTING_MAX))), Ok(0));
    let deeper = chunk(&[0], &list_of(&nested), &no_lists(NESTING_MAX + 1));
    assert_eq!(rows_of(&deeper), Err(Error::NestedTooDeeply { max: NESTING_MAX }));

    let columns = TYPES_MAX as u64 + 1;
    let many = [b"d\0\0e\0", &leb(columns)[..], &INTEGER.repeat(columns as usize)].concat();
    assert!(matches!(rows_of(&many.into()), Err(Error::TooLong { what: "chunk types", .. })));
    let two = list_of(INTEGER).repeat(TYPES_MAX / 2 + 1);
    let many = [b"d\0\0e\0", &leb(TYPES_MAX as u64 / 2 + 1)[..], &two].concat();
    assert!(matches!(rows_of(&many.into()), Err(Error::TooLong { what: "types", .. })));
}

#[test]
fn a_chunk_without_columns_or_with_fewer_than_types_is_refused() {
    let none: Bytes = [b"d\0\0e\0\0f\0\0", END].concat().into();
    assert_eq!(rows_of(&none), Err(Error::Invalid { what: "chunk types" }));
    let fewer: Bytes = [b"d\0\0e\0\x01", INTEGER, b"f\0\0", END].concat().into();
    assert_eq!(rows_of(&fewer), Err(Error::Invalid { what: "chunk columns" }));
}
