from prefect import flow


@flow
def double(number: int) -> int:
    return 2 * number


print(double(21))
