mod calls;
mod cluster;
mod fates;
mod hostile;
mod network;
mod random;
mod threads;
mod windows;
