//! Copies the contents of one directory into another, empty one: to measure against `cp -a SRC/. DST`.

use std::os::fd::AsFd as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [src, dst] = arguments.as_slice() else {
        return Err("usage: copy_tree SRC DST".into());
    };
    let src = sys::dir::open(Path::new(src))?;
    let dst = sys::dir::open(Path::new(dst))?;
    let options = sys::copy_tree::CopyOptions {
        root_attributes: true,
        ..Default::default()
    };
    let counts = sys::copy_tree::copy_tree(src.as_fd(), dst.as_fd(), &options)?;
    println!("{} entries, {} bytes", counts.entries, counts.bytes);
    Ok(())
}
