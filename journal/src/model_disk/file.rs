//! A file of the model disk: what is written waits for a sync, and every operation may be told to fail.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Lasting, ModelDisk, Operation, error};
use crate::disk::File;
use crate::lock::lock;

#[derive(Debug)]
pub(super) struct ModelFile {
    pub(super) disk: ModelDisk,
    pub(super) file: usize,
}

impl File for ModelFile {
    fn zero_fill(&self, bytes: u64) -> io::Result<()> {
        let mut model = lock(&self.disk.shared);
        model
            .change(Operation::Fill, self.file, (0, bytes))
            .map_err(error)?;
        model.has_room(self.file, bytes)?;
        let memory = model.memory;
        let contents = &mut model.image.files[self.file];
        contents.bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        if memory {
            // Asked for as zeros, so that pages nobody writes to cost nothing.
            contents.durable = Arc::new(vec![0; contents.bytes]);
        }
        Ok(())
    }

    fn write_at(&self, position: u64, blocks: &[u8]) -> io::Result<()> {
        assert!(
            position.is_multiple_of(4096) && blocks.len().is_multiple_of(4096),
            "only whole blocks are written"
        );
        let mut model = lock(&self.disk.shared);
        let range = (position, blocks.len() as u64);
        model
            .change(Operation::Write, self.file, range)
            .map_err(error)?;
        model.has_room(self.file, range.0 + range.1)?;
        let memory = model.memory;
        let contents = &mut model.image.files[self.file];
        let at = usize::try_from(position).map_err(io::Error::other)?;
        if memory {
            contents.bytes = contents.bytes.max(at + blocks.len());
            let durable = Arc::make_mut(&mut contents.durable);
            durable.resize(contents.bytes, 0);
            durable[at..at + blocks.len()].copy_from_slice(blocks);
        } else {
            contents.write(at, blocks);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut model = lock(&self.disk.shared);
        let begun = model.change(Operation::Sync, self.file, (0, 0));
        let contents = &mut model.image.files[self.file];
        match begun {
            Ok(()) => contents.sync(),
            Err((lasting, error)) => {
                if lasting == Lasting::OnceWithDataGone {
                    contents.lose();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn read_at(&self, position: u64, bytes: usize) -> io::Result<Bytes> {
        let mut model = lock(&self.disk.shared);
        let range = (position, bytes as u64);
        model
            .begin(Operation::Read, Some(self.file), range)
            .map_err(error)?;
        let from = usize::try_from(position).map_err(io::Error::other)?;
        Ok(model.image.files[self.file].read(from, from + bytes).into())
    }

    fn len(&self) -> io::Result<u64> {
        let mut model = lock(&self.disk.shared);
        let begun = model.begin(Operation::Length, Some(self.file), (0, 0));
        begun.map_err(error)?;
        Ok(model.image.files[self.file].bytes as u64)
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut model = lock(&self.disk.shared);
        let begun = model.begin(Operation::Forget, Some(self.file), (0, 0));
        begun.map_err(error)?;
        model.image.files[self.file].forget();
        Ok(())
    }
}
