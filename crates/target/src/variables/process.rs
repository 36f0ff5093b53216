//! Frames of a process's threads.

use super::text::{Surroundings, Texts};
use super::view::{Bytes, DEEPEST, Spot, View};
use super::{FrameVariables, shown};
use crate::stack::{Frame, Trust};
use crate::target::Target;
use afterimage_dump::{CodeAddr, Memory, Virt};
use afterimage_symbols::Machine;

impl Target {
    /// The variables of a frame of a thread, by their indices in [`Dump::threads`](afterimage_dump::Dump) and in
    /// [`Stack::frames`](crate::Stack).
    ///
    /// # Errors
    /// Why nothing is known of them.
    pub fn variables(&self, thread: usize, frame: usize) -> FrameVariables {
        let stack = self.stack(thread);
        let frames = stack.frames.get(frame..).unwrap_or_default();
        let Some(first) = frames.first() else { return Err("there is no such frame".into()) };
        let bytes = Bytes { memory: self.memory(), endian: self.dump().endian };
        // Behind a gap there is another frame, which called neither.
        let gap = stack.omitted.and_then(|omitted| omitted.at.checked_sub(frame)).filter(|at| *at > 0);
        let near = frames.len().min(DEEPEST + 1).min(gap.unwrap_or(usize::MAX));
        let spots: Vec<Spot<'_>> =
            (0..near).filter_map(|index| self.spot(frames.get(index)?, frames.get(index + 1), bytes)).collect();
        let Some((symbols, bias)) = spots.first().and_then(|spot| spot.symbols) else {
            return Err("the address lies in no module".into());
        };
        let view = View { spots: &spots, bytes, depth: DEEPEST };
        let found = symbols.variables(first.address.lookup().0.wrapping_sub(bias), &view);
        let found = found.map_err(|why| why.to_string())?;
        Ok(shown(found, &Texts::new(self, self.dump().endian)))
    }

    fn spot(&self, frame: &Frame, caller: Option<&Frame>, bytes: Bytes<'_>) -> Option<Spot<'_>> {
        let at = frame.address.lookup();
        let symbols = self.module_at(at).map(|module| (module.symbols(), module.symbol_bias()));
        let spot = |cfa| Spot {
            back: match frame.address {
                CodeAddr::Return(at) if frame.trust != Trust::Scan => Some(at.0),
                _ => None,
            },
            registers: frame.registers,
            cfa,
            symbols,
        };
        // The tables tell best; what led to a caller that was only guessed is a guess.
        let bare = [spot(None)];
        let view = View { spots: &bare, bytes, depth: 0 };
        let told = symbols.and_then(|(symbols, bias)| {
            // Only expressions that ask for nothing else are wanted, and those of the outermost frame are, too.
            let view: &dyn Machine = &view;
            Some(symbols.unwind(at.0.wrapping_sub(bias), view).ok()?.cfa)
        });
        let sure = caller.is_none_or(|caller| caller.trust != Trust::Scan);
        Some(spot(told.or_else(|| frame.cfa.filter(|_| sure).map(|cfa| cfa.0))))
    }
}

impl Surroundings for Target {
    fn memory(&self) -> &dyn Memory<Virt> {
        Target::memory(self)
    }

    fn name(&self, at: u64) -> Option<String> {
        let module = self.module_at(Virt(at))?;
        let own = module.symbol_address(Virt(at));
        let with = |name: String, start: u64| match own.wrapping_sub(start) {
            0 => name,
            far => format!("{name}+{far:#x}"),
        };
        // What stands before an address without holding it says nothing.
        let function = module.symbols().function(own).filter(|function| function.exact);
        if let Some(function) = function {
            return Some(with(function.short_name(), function.start));
        }
        module.symbols().data(own).map(|(name, start)| with(name, start))
    }
}
