//! Writes the seed corpora: the frames and commands of the recordings; for `handle`, which reads steps out of whatever
//! it is given, random octets.
//!
//! `seeds RECORDINGS CORPUS`

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(recordings), Some(corpus)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seeds RECORDINGS CORPUS".into());
    };
    let (headers, rules) = (corpus.join("headers"), corpus.join("rules"));
    fs::create_dir_all(&headers)?;
    fs::create_dir_all(&rules)?;
    noise(&corpus.join("handle"))?;
    for entry in fs::read_dir(recordings)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            frames(&path, &headers)?;
            commands(&path, &rules)?;
        }
    }
    Ok(())
}

/// Files of random octets, the same each time.
fn noise(corpus: &Path) -> Result<(), Box<dyn Error>> {
    const FILES: usize = 200;
    const OCTETS: usize = 1500;
    fs::create_dir_all(corpus)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for file in 0..FILES {
        let octets: Vec<u8> = (0..OCTETS)
            .map(|_| {
                // Marsaglia's xorshift64.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        fs::write(corpus.join(format!("noise{file:03}")), octets)?;
    }
    Ok(())
}

/// The sent frames of one recording, equal lengths kept once: the fuzzer finds the values itself.
fn frames(path: &Path, corpus: &Path) -> Result<(), Box<dyn Error>> {
    for line in fs::read_to_string(path)?.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        let Some(frame) = record["frame"].as_str().and_then(from_hex) else {
            continue;
        };
        let mut hasher = DefaultHasher::new();
        (frame.len(), frame.get(12..14), frame.get(20), frame.get(23)).hash(&mut hasher);
        let seed = [&[0], frame.as_slice()].concat();
        fs::write(corpus.join(format!("{:016x}", hasher.finish())), seed)?;
    }
    Ok(())
}

/// The ipvsadm lines of one recording.
fn commands(path: &Path, corpus: &Path) -> Result<(), Box<dyn Error>> {
    let mut lines = String::new();
    for line in fs::read_to_string(path)?.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        if record["op"] != "cmd" || record["argv"][0] != "ipvsadm" {
            continue;
        }
        let words: Vec<&str> = record["argv"]
            .as_array()
            .into_iter()
            .flatten()
            .skip(1)
            .filter_map(serde_json::Value::as_str)
            .collect();
        lines.push_str(&words.join(" "));
        lines.push('\n');
    }
    let name = path.file_stem().unwrap_or_default();
    fs::write(corpus.join(name), lines)?;
    Ok(())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
