"""edged keeps a VIP's static ECMP route on a MikroTik router pointed at healthy gateways only."""

__version__ = "0.1.0"
