"""The stage that pays out. So far its calendars, daily bills, and its edge to the bank.

Whoever has payouts calls `payments.prepare` with a `model.PayoutFile` in a transaction of its own; the creditors'
accounts come from `accounts.account_of`. `sender.PayoutSender`, in a process of its own (`fenzhang serve payouts`),
takes it from there, and `store.banktables.BankPayment` says where each payout stands.
"""
