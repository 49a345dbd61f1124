"""Amazon Web Services: EC2 instances and routes, network and classic load balancers, EBS volumes.

Names, tags and annotations are those that the AWS cloud provider documents. boto3 is needed for it:
`pip install 'pynetes[aws]'`.
"""

from pynetes.cloud.provider import Provider
from pynetes.cloud.providers import BadCloud, Settings
from pynetes.cloud.providers.aws.config import parse

NAME = "aws"


async def connect(settings: Settings) -> Provider:
    """The cloud of one region. Raises BadCloud."""
    try:
        import boto3  # noqa: F401 (an extra of its own: who has no such cloud does not need it)
    except ImportError:
        raise BadCloud("--cloud-provider=aws needs boto3", "pip install 'pynetes[aws]'") from None
    from pynetes.cloud.providers.aws.balancers import Balancers
    from pynetes.cloud.providers.aws.instances import Instances
    from pynetes.cloud.providers.aws.routes import Routes
    from pynetes.cloud.providers.aws.sdk import Sdk
    from pynetes.cloud.providers.aws.volumes import Volumes

    sdk = Sdk(parse(settings.config, settings.cluster), settings.clock)
    return Provider(
        name=NAME,
        instances=Instances(sdk),
        balancers=Balancers(sdk),
        routes=Routes(sdk),
        volumes=Volumes(sdk),
        close=sdk.close,
    )
