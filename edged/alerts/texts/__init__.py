"""What a message says, in English and Korean; pure functions of an alert's facts."""
