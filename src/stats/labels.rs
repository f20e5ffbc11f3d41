//! The closed sets that metric labels, logs and the admin API take their words from.

/// Declares a closed set of label values: an enum with its names, in order.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label's value.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The variant of that position.
            pub fn from_index(index: u8) -> Option<Self> {
                Self::ALL.get(index as usize).copied()
            }
        }
    };
}
label! {
    /// Why a conn ended.
    CloseReason {
        /// The peer closed or reset it.
        Client = "client",
        /// The handler was done.
        Handler = "handler",
        /// TLS handshake or PROXY header out of time.
        Handshake = "handshake",
        /// No first byte in time.
        FirstByte = "first_byte",
        /// A request not complete in time.
        Request = "request",
        /// Nothing moved for too long.
        Idle = "idle",
        /// The peer did not take what was sent.
        Stall = "stall",
        /// Open for as long as allowed.
        Lifetime = "lifetime",
        /// The peer sent more than the handler takes.
        TooLarge = "too_large",
        /// An error of the socket.
        IoError = "io_error",
        /// The handler panicked.
        Panic = "panic",
        /// Killed over the admin API.
        Admin = "admin",
        /// Still open when the time to drain ran out.
        Drain = "drain",
        /// The upstream endpoint that carried it failed, or none could be connected.
        Upstream = "upstream",
    }
}

label! {
    /// Why a conn was turned away after accept.
    RejectReason {
        /// Over `max_connections`.
        MaxConnections = "max_connections",
        /// Over `max_connections_per_ip`.
        PerIp = "per_ip",
        /// Over `accept_rate`.
        Rate = "rate",
        /// By `allow` and `deny`.
        Acl = "acl",
        /// The listener drains or has stopped.
        Draining = "draining",
        /// TLS handshake failed.
        Tls = "tls",
        /// Bad PROXY header.
        ProxyHeader = "proxy_header",
    }
}

label! {
    /// Why an upstream endpoint could not be connected.
    ConnectFailure {
        /// Not in time.
        Timeout = "timeout",
        /// Nobody listens there.
        Refused = "refused",
        /// No way to it.
        Unreachable = "unreachable",
        /// Its name has no address.
        Dns = "dns",
        /// The TLS handshake failed.
        Tls = "tls",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// A version of TLS.
    TlsVersion {
        /// 1.2 (RFC 5246).
        V12 = "1.2",
        /// 1.3 (RFC 8446).
        V13 = "1.3",
    }
}

label! {
    /// Why a TLS handshake failed.
    TlsFailure {
        /// Out of time.
        Timeout = "timeout",
        /// The peer does not speak TLS, or a version that we do not, or breaks its rules.
        Protocol = "protocol",
        /// No cipher suite, key exchange or signature in common.
        NoSharedCipher = "no_shared_cipher",
        /// The client's certificate is missing or not good, or the client does not take ours.
        BadCertificate = "bad_certificate",
        /// The peer went away.
        Eof = "eof",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// An error of `accept(2)`.
    AcceptError {
        /// The process is out of file descriptors.
        Emfile = "emfile",
        /// The system is.
        Enfile = "enfile",
        /// The peer was gone already.
        Econnaborted = "econnaborted",
        /// Out of buffers or memory.
        Enobufs = "enobufs",
        /// Anything else.
        Other = "other",
    }
}

label! {
    /// Why a datagram was not answered.
    DatagramDrop {
        /// The receive buffer was full; counted by the kernel.
        KernelBuffer = "kernel_buffer",
        /// The answer could start a loop.
        LoopGuard = "loop_guard",
        /// Over the source's rate.
        Rate = "rate",
        /// By `allow` and `deny`.
        Acl = "acl",
        /// It, or its answer, is too long.
        TooLarge = "too_large",
        /// The sender has no address.
        NoReturnAddress = "no_return_address",
        /// The answer could not be sent.
        SendError = "send_error",
    }
}

label! {
    /// Why a process failed.
    ProcessFailure {
        /// It ended with a status other than 0.
        Exit = "exit",
        /// It was ended by a signal, ours for too much output included.
        Signal = "signal",
        /// It took too long.
        Timeout = "timeout",
        /// It could not be started.
        Spawn = "spawn",
        /// It was not started, because as many ran as may.
        Limit = "limit",
    }
}

label! {
    /// What asked for a reload.
    Trigger {
        /// The admin API, which `polygate reload` uses too.
        Api = "api",
        /// SIGHUP.
        Signal = "signal",
        /// A change of the file.
        Watch = "watch",
    }
}

label! {
    /// Where a reload failed.
    Stage {
        /// The file could not be read.
        Read = "read",
        /// It is not TOML.
        Parse = "parse",
        /// It is wrong.
        Validate = "validate",
        /// A handler could not be built.
        Build = "build",
        /// An endpoint could not be bound.
        Bind = "bind",
    }
}

label! {
    /// Why a connection to the admin API was cut off.
    AdminCut {
        /// No TLS handshake in time, or one that failed.
        Handshake = "handshake",
        /// No whole request in time.
        Request = "request",
        /// It did not read what it had asked for.
        Stall = "stall",
    }
}

label! {
    /// The level of a log event.
    LogLevel {
        /// An error.
        Error = "error",
        /// A warning.
        Warn = "warn",
        /// Information.
        Info = "info",
        /// For finding faults.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}
