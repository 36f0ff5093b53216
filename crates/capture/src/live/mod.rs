mod clone;
mod hold;
mod inject;
mod restart;
