package io.nightmill.kernels.gpu;

/** What a device refused, in its own words. */
public final class DeviceException extends RuntimeException {
    private final boolean lost;

    public DeviceException(String message, boolean lost) {
        super(message);
        this.lost = lost;
    }

    /** Whether the device is of no more use to this process. */
    public boolean lost() {
        return lost;
    }
}
