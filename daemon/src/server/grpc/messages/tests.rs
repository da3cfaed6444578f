//! The messages hold every field of the descriptions, under its number and in its form.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::{DESCRIPTION, diarized, voicepersonification as vp};

type Again = fn(&[u8]) -> Result<Vec<u8>, prost::DecodeError>;

/// What a message type keeps of encoded bytes: fields that it does not know are lost.
fn again<M: Message + Default>(bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    M::decode(bytes).map(|message| message.encode_to_vec())
}

/// The types by the full names of their messages.
fn types() -> BTreeMap<String, Again> {
    let mut all: BTreeMap<String, Again> = BTreeMap::new();
    macro_rules! of {
        ($package:literal, $module:ident: $($name:ident)*) => {
            $(all.insert(format!(".{}.{}", $package, stringify!($name)), again::<$module::$name>);)*
        };
    }
    of!("voicepersonification", vp: AudioRequest BrouhahaPrediction BrouhahaResponse EmbeddingPrediction EmbeddingResponse
        Segment SegmentationPrediction SegmentationResponse TranscriptSegment TranscriptionResult TranscriptionResponse);
    of!("diarized.v1", diarized: Audio Start Format Resume Finalize KeepAlive Event Started Snapshot Segment Span
        SegmentRemoved Revision Change Speaker SpeakerMerged Words Word Gap Title Note Correctable Correction Ack Stats
        Lagged Warning Error Ended);
    all
}

/// The messages of the descriptions by their full names.
fn described() -> BTreeMap<String, DescriptorProto> {
    let set = FileDescriptorSet::decode(DESCRIPTION).unwrap();
    let of_file = |file: prost_types::FileDescriptorProto| {
        let package = file.package().to_owned();
        file.message_type.into_iter().map(move |message| (format!(".{package}.{}", message.name()), message))
    };
    set.file.into_iter().flat_map(of_file).collect()
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn with_length(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A field with a value that is not its default; of a list, two of them.
fn encoded(field: &FieldDescriptorProto, all: &BTreeMap<String, DescriptorProto>) -> Vec<u8> {
    let (mut out, number) = (Vec::new(), field.number() as u64);
    let (is_list, kind) = (field.label() == Label::Repeated, field.r#type());
    let mut value = Vec::new();
    let wire = match kind {
        Type::Double => {
            value.extend(1.5_f64.to_le_bytes());
            1
        }
        Type::Float => {
            value.extend(1.5_f32.to_le_bytes());
            5
        }
        Type::Uint64 | Type::Uint32 | Type::Int32 => {
            varint(300, &mut value);
            0
        }
        Type::Bool => {
            value.push(1);
            0
        }
        Type::String | Type::Bytes => {
            with_length(b"text", &mut value);
            2
        }
        Type::Message => {
            // One level deep: every message is looked at by itself, too.
            let fields = &all[field.type_name()].field;
            let first = fields.iter().find(|field| field.r#type() != Type::Message);
            with_length(&first.map_or(Vec::new(), |first| encoded(first, all)), &mut value);
            2
        }
        other => panic!("{}: the messages have no {other:?}", field.name()),
    };
    if is_list && wire != 2 {
        varint(number << 3 | 2, &mut out);
        with_length(&value.repeat(2), &mut out);
        return out;
    }
    for _ in 0..=u8::from(is_list) {
        varint(number << 3 | wire, &mut out);
        out.extend_from_slice(&value);
    }
    out
}

#[test]
fn every_field_of_the_descriptions_arrives_and_is_sent() {
    let (types, described) = (types(), described());
    assert_eq!(types.keys().collect::<Vec<_>>(), described.keys().collect::<Vec<_>>());
    let mut n_fields = 0;
    for (name, message) in &described {
        for field in &message.field {
            let bytes = encoded(field, &described);
            let got = types[name](&bytes).unwrap_or_else(|e| panic!("{name}.{}: {e}", field.name()));
            assert_eq!(got, bytes, "{name}.{}", field.name());
            n_fields += 1;
        }
    }
    assert!(n_fields > 100, "{n_fields}");
}
