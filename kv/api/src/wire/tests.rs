//! Every variant survives the wire; nothing that arrives does harm.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use basalt_base::{ErrorKind, NodeId, Span, Timestamp, TxnId};
use basalt_env::{Rng, sim::SimRng};
use bytes::{Bytes, BytesMut};

use super::{
    Input, Wire, WireError, decode_error, decode_request, decode_response, decode_result, encode_error,
    encode_request, encode_response, encode_result,
};
use crate::{
    BatchHeader, BatchRequest, BatchResponse, Error, IgnoredSeqs, LockStrength, LockWait, Observed, PushType,
    ReadConsistency, Request, ResolvedTxn, Response, RowAction, ScanBatch, ScanProgram, ScanSink, TxnMeta,
    TxnPriority, TxnRecord, TxnStatus,
};

/// The tags of a type with variants, as its encoding lists them.
pub trait Tagged: Wire + Debug {
    const TAGS: &'static [(u8, &'static str)];
}

fn put<T: Wire>(value: &T) -> Bytes {
    let mut out = BytesMut::new();
    value.put(&mut out).unwrap();
    out.freeze()
}

fn take<T: Wire>(bytes: &Bytes) -> Result<T, WireError> {
    let mut input = Input::new(bytes.clone(), "test");
    let value = T::take(&mut input)?;
    input.end()?;
    Ok(value)
}

/// Sends each sample, and insists on a sample of every variant.
fn check_variants<T: Tagged>(samples: &[T]) {
    let mut missing: BTreeSet<_> = T::TAGS.iter().copied().collect();
    let tags: BTreeSet<u8> = missing.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags.len(), T::TAGS.len(), "each tag means one variant");
    for sample in samples {
        let bytes = put(sample);
        let back: T = take(&bytes).unwrap();
        assert_eq!(format!("{back:?}"), format!("{sample:?}"));
        assert_eq!(put(&back), bytes);
        missing.retain(|(tag, _)| *tag != bytes[0]);
    }
    assert!(missing.is_empty(), "no sample of {missing:?}");
}

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn span() -> Span {
    Span::new(key("a"), key("f"))
}

fn ignored() -> IgnoredSeqs {
    IgnoredSeqs(vec![(1, 3), (7, u32::MAX)])
}

fn meta() -> TxnMeta {
    TxnMeta {
        id: TxnId(0x0102 << 96),
        anchor: key("anchor"),
        epoch: 2,
        read_ts: Timestamp(3),
        write_ts: Timestamp(4),
        min_ts: Timestamp(5),
        global_limit: Timestamp::MAX,
        priority: TxnPriority(6),
        read_seq: 7,
        ignored: ignored(),
        observed: Observed(vec![(NodeId(2), Timestamp(8))]),
    }
}

fn record() -> TxnRecord {
    TxnRecord {
        id: TxnId(9),
        status: TxnStatus::Staging,
        epoch: 1,
        write_ts: Timestamp(2),
        last_heartbeat: Timestamp(3),
        lock_spans: vec![span(), span()],
        ignored: ignored(),
        in_flight: vec![(key("w"), 4), (key("x"), u32::MAX)],
    }
}

fn resolved() -> ResolvedTxn {
    ResolvedTxn {
        id: TxnId(1),
        epoch: 2,
        status: TxnStatus::Committed,
        timestamp: Timestamp(3),
        ignored: ignored(),
    }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Get { key: key("a"), lock: Some(LockStrength::Exclusive) },
        Request::Scan { span: span(), reverse: true, lock: None, program: None },
        Request::Put { key: key("b"), value: Bytes::from(vec![7; 40_000]), seq: 1, if_absent: true },
        Request::Delete { key: key("c"), seq: u32::MAX },
        Request::EndTxn {
            commit: true,
            lock_spans: vec![span()],
            one_phase: false,
            deadline: Some(Timestamp(8)),
        },
        Request::HeartbeatTxn { anchor: key("d"), now: Timestamp(1) },
        Request::PushTxn {
            pushee: meta(),
            push_type: PushType::Abort,
            push_to: Timestamp(1),
            force: true,
            dependents: vec![TxnId(8)],
        },
        Request::QueryTxn { anchor: key("e"), id: TxnId(u128::MAX) },
        Request::ResolveLock { key: key("f"), txn: resolved() },
        Request::ResolveLockRange { span: span(), txn: resolved(), keys_max: 10 },
        Request::Refresh { span: span(), from: Timestamp(1), to: Timestamp(2) },
        Request::ClearRange { span: span() },
        Request::GarbageCollect { span: span(), threshold: Timestamp(3), keys_max: 4 },
        Request::AdminSplit { key: key("g") },
        Request::Increment { key: key("n"), by: 16 },
        Request::PutMeta { key: key("m"), generation: 3, descriptor: key("d") },
        Request::AdminTransferLease { key: key("t"), to: basalt_base::NodeId(2) },
        Request::StageTxn { lock_spans: vec![span()], in_flight: vec![(key("w"), 4)], deadline: None },
        Request::QueryWrite {
            key: key("w"),
            id: TxnId(2),
            epoch: 3,
            seq: 4,
            at: Timestamp(5),
            prevent: true,
        },
        Request::RecoverTxn {
            anchor: key("d"),
            id: TxnId(2),
            epoch: 3,
            staged_at: Timestamp(5),
            committed: true,
        },
    ]
}

fn responses() -> Vec<Response> {
    let rows = vec![(key("k1"), key("v1")), (key("k2"), Bytes::new())];
    vec![
        Response::Get { value: Some(key("v")) },
        Response::Get { value: None },
        Response::Scan { batch: ScanBatch::Rows(rows), resume: Some(span()) },
        Response::Put,
        Response::Delete,
        Response::EndTxn { commit_ts: Timestamp(5), one_phase: true },
        Response::HeartbeatTxn { record: record() },
        Response::PushTxn { record: record(), known: true },
        Response::QueryTxn { record: Some(record()), dependents: vec![TxnId(9)] },
        Response::ResolveLock,
        Response::ResolveLockRange { resume: Some(span()) },
        Response::Refresh,
        Response::ClearRange,
        Response::GarbageCollect { resume: None },
        Response::AdminSplit,
        Response::Increment { sum: 17 },
        Response::PutMeta,
        Response::AdminTransferLease,
        Response::StageTxn { staged_at: Timestamp(6), committed: false },
        Response::QueryWrite { done: true },
        Response::RecoverTxn { record: Some(record()) },
    ]
}

fn errors() -> Vec<Error> {
    vec![
        Error::WriteTooOld { existing: Timestamp(1) },
        Error::Uncertain { existing: Timestamp(1), retry_at: Timestamp(2) },
        Error::RefreshFailed { reason: "changed".into() },
        Error::RefreshRequired { write_ts: Timestamp(3) },
        Error::TxnAborted { reason: "pushed".into() },
        Error::Deadlock { holder: TxnId(4) },
        Error::LockNotAvailable { holder: Some(TxnId(5)) },
        Error::DeadlineExceeded,
        Error::BelowGcThreshold { read_ts: Timestamp(6), threshold: Timestamp(7) },
        Error::KeyExists { key: key("k") },
        Error::RangeMismatch,
        Error::RangeNotFound,
        Error::NotLeaseholder,
        Error::Ambiguous { reason: "the node is gone".into() },
        Error::DiskFull,
        Error::Unavailable("no leader".into()),
        Error::LimitExceeded("locks".into()),
        Error::Invalid("ä".into()),
        Error::Corruption("block".into()),
        Error::Internal("bug".into()),
    ]
}

fn request() -> BatchRequest {
    let header = BatchHeader {
        txn: Some(meta()),
        timestamp: Timestamp(1),
        lock_wait: LockWait::Timeout(Duration::new(3, 999_999_999)),
        consistency: ReadConsistency::Inconsistent,
        rows_max: 2,
        bytes_max: 3,
        can_forward_read_ts: true,
        from_any_replica: true,
    };
    let mut requests = requests();
    requests.retain(|request| !matches!(request, Request::Put { .. }));
    BatchRequest { header, requests }
}

fn response() -> BatchResponse {
    BatchResponse { responses: responses(), txn: Some(meta()), now: Timestamp(1) }
}

/// Messages of all sorts with the function that decodes and encodes them again.
type Again = fn(Bytes) -> Result<Bytes, WireError>;

fn messages() -> Vec<(Bytes, Again)> {
    let request_again: Again = |message| encode_request(&decode_request(message)?);
    let response_again: Again = |message| encode_response(&decode_response(message)?);
    let error_again: Again = |message| Ok(encode_error(&decode_error(message)?));
    let result_again: Again = |message| Ok(encode_result(&decode_result(message)?));
    let mut messages = vec![
        (encode_request(&request()).unwrap(), request_again),
        (encode_response(&response()).unwrap(), response_again),
        (encode_result(&Ok(response())), result_again),
        (encode_result(&Err(Error::RangeMismatch)), result_again),
    ];
    messages.extend(errors().iter().map(|error| (encode_error(error), error_again)));
    messages
}

#[test]
fn every_variant_survives() {
    check_variants(&requests());
    check_variants(&responses());
    check_variants(&errors());
    check_variants(&[TxnStatus::Pending, TxnStatus::Staging, TxnStatus::Committed, TxnStatus::Aborted]);
    check_variants(&[PushType::Timestamp, PushType::Abort, PushType::Touch]);
    check_variants(&[LockStrength::Shared, LockStrength::Exclusive]);
    check_variants(&[ReadConsistency::Consistent, ReadConsistency::Inconsistent]);
    let timeout = LockWait::Timeout(Duration::MAX);
    check_variants(&[LockWait::Block, timeout, LockWait::Error, LockWait::Skip]);
    for (message, again) in messages() {
        assert_eq!(again(message.clone()).unwrap(), message);
    }
}

#[test]
fn rows_and_values_arrive_as_they_were() {
    let message = encode_response(&response()).unwrap();
    let back = decode_response(message).unwrap();
    let Response::Scan { batch: ScanBatch::Rows(rows), .. } = &back.responses[2] else {
        panic!("not a scan: {:?}", back.responses[2]);
    };
    assert_eq!(*rows, [(key("k1"), key("v1")), (key("k2"), Bytes::new())]);
    assert_eq!((back.txn, back.now), (Some(meta()), Timestamp(1)));
}

#[test]
fn truncated_and_extended_messages_are_refused() {
    for (message, again) in messages() {
        for length in 0..message.len() {
            assert!(again(message.slice(..length)).is_err(), "{length} of {} bytes", message.len());
        }
        let extended = Bytes::from([&message[..], &[0]].concat());
        assert!(again(extended).is_err());
        let mut other_format = message.to_vec();
        other_format[0] += 1;
        assert!(again(other_format.into()).is_err());
    }
}

#[test]
fn mutated_messages_are_refused_or_mean_something_else() {
    let messages = messages();
    let rng = SimRng::new(1);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let (message, again) = &messages[rng.below(messages.len())];
        let mut mutated = message.to_vec();
        for _ in 0..=rng.below(3) {
            let at = 1 + rng.below(mutated.len() - 1);
            match rng.below(4) {
                0 => mutated[at] = rng.next_u64() as u8,
                1 => mutated[at] ^= 1 << rng.below(8),
                2 => mutated.insert(at, rng.next_u64() as u8),
                _ if mutated.len() > 2 => drop(mutated.remove(at)),
                _ => {}
            }
        }
        match again(mutated.clone().into()) {
            // Each meaning has one encoding.
            Ok(encoded) => {
                assert_eq!(encoded, mutated);
                accepted += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn claimed_lengths_allocate_nothing() {
    // A batch without transaction that claims four billion requests.
    let mut message = encode_request(&BatchRequest::default()).unwrap().to_vec();
    let count_at = message.len() - 4;
    message[count_at..].fill(0xff);
    assert!(decode_request(message.into()).is_err());
    // Lists are bounded even if every item is there.
    let long = vec![0_u8; (4 << 20) + 1];
    assert_eq!(long.put(&mut BytesMut::new()), Err(WireError("list, too long")));
    let mut bytes = BytesMut::from(&u32::try_from(long.len()).unwrap().to_be_bytes()[..]);
    bytes.extend_from_slice(&long);
    assert!(take::<Vec<u8>>(&bytes.freeze()).is_err());
}

#[test]
fn kept_keys_do_not_keep_the_message() {
    let message = put(&(key("key"), Bytes::from(vec![1; 100_000])));
    let range = message.as_ptr_range();
    let (small, large): (Bytes, Bytes) = take(&message).unwrap();
    assert!(!range.contains(&small.as_ptr()), "a key is a copy");
    assert!(range.contains(&large.as_ptr()), "a large value is not");
}

#[test]
fn inverted_spans_are_refused() {
    let inverted = put(&Span::new(key("b"), key("a")));
    assert!(take::<Span>(&inverted).is_err());
    assert!(take::<Span>(&put(&Span::new(key("b"), key("b")))).is_ok());
}

#[derive(Debug)]
struct Program;

impl ScanProgram for Program {
    fn start(&self) -> Box<dyn ScanSink> {
        Box::new(Self)
    }
}

impl ScanSink for Program {
    fn row(&mut self, _key: &[u8], _value: &[u8]) -> Result<RowAction, Error> {
        Ok(RowAction::Stop)
    }

    fn bytes(&self) -> usize {
        0
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn std::any::Any + Send>, Error> {
        Ok(self)
    }
}

#[test]
fn programs_stay_where_they_are() {
    let program: Option<Arc<dyn ScanProgram>> = Some(Arc::new(Program));
    let scan = Request::Scan { span: span(), reverse: false, lock: None, program };
    let back = take::<Request>(&put(&scan)).unwrap();
    assert!(matches!(back, Request::Scan { program: None, reverse: false, .. }));

    let batch = ScanBatch::Program(Program.start().finish().unwrap());
    let responses = vec![Response::Put, Response::Scan { batch, resume: None }];
    let response = BatchResponse { responses, ..BatchResponse::default() };
    assert!(encode_response(&response).is_err());
    let result = decode_result(encode_result(&Ok(response))).unwrap();
    assert!(matches!(result, Err(Error::Internal(_))), "{result:?}");

    let error = Error::Program(Arc::new(WireError("row")));
    let back = decode_error(encode_error(&error)).unwrap();
    assert!(matches!(&back, Error::Invalid(text) if text == "malformed row"));
    assert_eq!((back.kind(), error.kind()), (ErrorKind::Invalid, ErrorKind::Invalid));
}

/// Format; the transaction; the rest of the header; a get and a put.
const REQUEST: &str = "04 \
    01 00000102000000000000000000000000 00000006 616e63686f72 00000002 0000000000000003 0000000000000004 \
    0000000000000005 ffffffffffffffff 00000006 00000007 00000002 00000001 00000003 00000007 ffffffff \
    00000001 0000000000000002 0000000000000008 0000000000000000 01 01 0000000000000001 0000000000000000 00 00 \
    00000002 01 00000001 6b 01 01 03 00000001 6b 00000001 76 00000009 00";

/// What is on the wire today. If this fails, nodes of two versions misread each other: see the module's documentation.
#[test]
fn the_format_is_the_agreed_one() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let batch = BatchRequest {
        header: BatchHeader { txn: Some(meta()), rows_max: 1, ..BatchHeader::default() },
        requests: vec![
            Request::Get { key: key("k"), lock: Some(LockStrength::Shared) },
            Request::Put { key: key("k"), value: key("v"), seq: 9, if_absent: false },
        ],
    };
    assert_eq!(hex(&encode_request(&batch).unwrap()), REQUEST.replace(' ', ""));
    let response = BatchResponse {
        responses: vec![Response::Get { value: Some(key("v")) }, Response::Put],
        txn: None,
        now: Timestamp(0x0102),
    };
    assert_eq!(
        hex(&encode_result(&Ok(response))),
        "04 01 00000002 01 01 00000001 76 03 00 0000000000000102".replace(' ', "")
    );
    let error = Error::TxnAborted { reason: "pushed".into() };
    assert_eq!(hex(&encode_result(&Err(error))), "04 02 05 00000006 707573686564".replace(' ', ""));
}
