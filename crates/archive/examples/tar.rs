//! Unpacks a tar file (`x FILE DIR`), or packs a directory (`c DIR FILE`), to measure against GNU tar.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]
#![expect(clippy::disallowed_methods, reason = "writes a file of its own")]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["x", file, dir] => {
            let target = sys::dir::open(Path::new(dir))?;
            let mut stream = archive::DigestReader::new(archive::decompress(File::open(file)?)?);
            let options = archive::UnpackOptions::default();
            let unpacked = archive::unpack(&mut stream, target.as_fd(), &options)?;
            println!(
                "{} {} entries, {} bytes",
                stream.finish().0,
                unpacked.entries,
                unpacked.bytes
            );
        }
        ["c", dir, file] => {
            let root = sys::dir::open(Path::new(dir))?;
            let options = archive::PackOptions {
                root_entry: true,
                ..Default::default()
            };
            let packed = archive::pack(root.as_fd(), File::create(file)?, &options)?;
            println!("{} entries, {} bytes", packed.entries, packed.bytes);
        }
        _ => return Err("usage: tar x FILE DIR | tar c DIR FILE".into()),
    }
    Ok(())
}
